"""Transactions of foreign clients: see scripts/transactions.sh, which installs what this needs and calls it."""

import collections
import signal
import subprocess
import time

import scene
from brokers import HOME
from demo import CLIENTS, commands, skipped
from scene import Failed, say

PARTITIONS = 6
DEADLINE_S = 180  # for each wait
STUCK_S = 45
# Clients that may hang for good, on the real Kafka, too, and why; one that does is killed and started again, and said so.
MAY_HANG = {
    "confluent": "librdkafka 2.16 sends TxnOffsetCommit to a handle that it gave up when its only broker was away",
    "kafkajs": "a consumer that comes back at once after a kill may wait for ever",
}
TRANSFORMERS = ["confluent", "aiokafka", "kafkajs", "java-3.9", "java-4.3", "franz-go"]


class Transformer:
    """One client's process, started again whenever it ends by itself."""

    def __init__(self, work, client, bootstrap):
        self.client, self.target = client, f"out-{client}"
        self.errors = work / f"{client}.errors"
        self.command = [*commands()[client][0], "transact", bootstrap, "in", self.target, f"group-{client}", f"id-{client}"]
        self.starts = self.hangs = 0
        self.seen, self.moved = -1, time.monotonic()
        self.start()

    def start(self):
        self.starts += 1
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True)

    def keep_alive(self):
        if self.process.poll() is not None:
            self.start()

    def watch(self, seen):
        """Starts it again if it is known to hang and has not moved for long."""
        now = time.monotonic()
        if seen != self.seen:
            self.seen, self.moved = seen, now
        elif self.client in MAY_HANG and now - self.moved > STUCK_S:
            self.hangs, self.moved = self.hangs + 1, now
            self.end(signal.SIGKILL)
            self.start()

    def end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.client} did not leave within 60 s") from None


class Run:
    def __init__(self, options, work, broker):
        self.options, self.work, self.broker = options, work, broker
        self.sent = 0
        self.transformers = []

    def close(self):
        for one in self.transformers:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def python(self, *words):
        command = [HOME / "python/bin/python", CLIENTS / "python/client.py", "confluent", *map(str, words)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise Failed(f"{words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def produce(self, count):
        """Sends so many more records; every value is another."""
        path, first = self.work / "input", self.sent
        with open(path, "ab") as file:
            file.writelines(b"key-%d\tvalue-%d\n" % (n % 997, n) for n in range(first, first + count))
        self.sent += count
        self.python("produce", self.broker.address, "in", path, first, self.sent, "p", 50_000, self.work / "acks")

    def values(self, topic, isolation):
        return collections.Counter(self.python("values", self.broker.address, topic, isolation).splitlines())

    def wait_transformed(self):
        """Waits until every target has each record once for a read_committed reader. Errors: Failed; at once if one has any twice, or an aborted one."""
        everything = {b"value-%d" % n for n in range(self.sent)}
        until = time.monotonic() + DEADLINE_S
        left = list(self.transformers)
        while left:
            for one in list(left):
                one.keep_alive()
                seen = self.values(one.target, "read_committed")
                wrong = [value for value, count in seen.items() if count > 1 or value not in everything]
                if wrong:
                    raise Failed(f"{one.client}: {len(wrong)} records that are there twice, or were aborted: {wrong[:3]}")
                if len(seen) == len(everything):
                    left.remove(one)
                    continue
                one.watch(len(seen))
                if time.monotonic() > until:
                    tail = one.errors.read_text(errors="replace")[-1500:]
                    raise Failed(f"{one.client}: {len(seen)} of {len(everything)} records within {DEADLINE_S} s: {tail}")
            time.sleep(0.2)

    def all(self):
        missing = skipped()
        clients = [client for client in self.options.clients if commands()[client][1] not in missing]
        for client in self.options.clients:
            if client not in clients:
                say(f"{client}: skipped: {missing[commands()[client][1]]}")
        self.python("create", self.broker.address, "in", PARTITIONS)
        for client in clients:
            self.python("create", self.broker.address, f"out-{client}", PARTITIONS)
        each = self.options.records // 4
        self.produce(each)
        self.transformers = [Transformer(self.work, client, self.broker.address) for client in clients]
        self.wait_transformed()
        say(f"{self.sent} records transformed once each by {', '.join(clients)}")

        self.produce(each)
        for one in self.transformers:
            one.process.kill()  # most likely within a transaction
            one.process.wait()
            one.start()
        self.wait_transformed()
        say(f"each killed and started again: {self.sent} records transformed once each")

        self.produce(each)
        self.broker.kill()
        self.broker.start()
        self.produce(each)
        self.wait_transformed()
        say(f"broker killed and started: {self.sent} records transformed once each")

        for one in self.transformers:
            one.end(signal.SIGTERM)
        for one in self.transformers:
            aborted = sum(count for value, count in self.values(one.target, "read_uncommitted").items() if value.startswith(b"aborted-"))
            if not aborted:
                raise Failed(f"{one.client}: no aborted record was ever written: the run says nothing about them")
            say(f"{one.client}: {aborted} aborted records that no read_committed reader saw; started {one.starts} times")
            if one.hangs:
                say(f"{one.client}: hung {one.hangs} times: {MAY_HANG[one.client]}")


def main():
    parser = scene.arguments("transactions")
    parser.add_argument("--records", type=int, default=8_000, help="records at least (default 8000)")
    parser.add_argument("--clients", type=lambda text: text.split(","), default=TRANSFORMERS, help=f"default: {','.join(TRANSFORMERS)}")
    options = parser.parse_args()
    settings = ["group.initial.rebalance.delay.ms=0", "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000"]
    scene.play_on_one("transactions", options, settings, Run)


if __name__ == "__main__":
    main()
