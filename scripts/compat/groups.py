"""Groups of foreign clients: see scripts/groups.sh, which installs what this needs and calls it."""

import signal
import subprocess
import threading

import scene
from brokers import HOME
from demo import CLIENTS, commands, skipped
from scene import Failed, say, wait_for

PARTITIONS = 12
SHARING_RECORDS = 600  # enough for every partition to get some
SHARING_ROUNDS = 30

# {group: [(client, strategy)]}: the members of a group must have a strategy in common.
GROUPS = {
    "mixed": [("confluent", "range"), ("kafka-python", "range"), ("aiokafka", "range"), ("franz-go", "range"), ("java-4.3", "range"), ("java-3.9", "range")],
    "cooperative": [("java-4.3", "cooperative-sticky"), ("confluent", "cooperative-sticky"), ("franz-go", "cooperative-sticky")],
    "javascript": [("kafkajs", "roundrobin"), ("kafkajs", "roundrobin")],
    "kip848": [("java-4.3", "consumer"), ("confluent", "consumer"), ("java-4.3", "consumer")],
}


class Member:
    """One process of one client in a group."""

    def __init__(self, work, number, client, strategy, group, bootstrap):
        self.name = f"{group}-{number}-{client}"
        self.out = work / f"{self.name}.out"
        self.errors = work / f"{self.name}.errors"
        self.out.touch()
        command = [*commands()[client][0], "join", bootstrap, "events", group, strategy, str(self.out)]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True)

    def read(self, since=0):
        """{(partition, offset): value} of what it has written so far, from byte `since` on; a line that was cut by a kill does not count."""
        whole = self.out.read_bytes()[since:].split(b"\n")[:-1]
        return {(int(p), int(o)): v for p, o, v in (line.split(b"\t", 2) for line in whole)}

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}: {self.errors.read_text(errors='replace')[-2000:]}")

    def end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not leave within 30 s") from None


class Run:
    def __init__(self, options, work, broker):
        self.options, self.work, self.broker = options, work, broker
        self.sent = 0
        self.members = []
        self.ended = []

    def python(self, *words):
        done = subprocess.run([HOME / "python/bin/python", CLIENTS / "python/client.py", "confluent", *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{words[0]}: {done.stderr.strip()}")
        return done.stdout

    def produce(self, count):
        """Sends so many more records; every value is another."""
        path, first = self.work / "input", self.sent
        with open(path, "ab") as file:
            file.writelines(b"key-%d\tvalue-%d\n" % (n % 997, n) for n in range(first, first + count))
        self.sent += count
        self.python("produce", self.broker.address, "events", path, first, self.sent, "p", 50_000, self.work / "acks")

    def close(self):
        for member in self.members:
            if member.process.poll() is None:
                member.process.kill()
                member.process.wait()

    def of(self, group):
        return [member for member in self.members if member.name.startswith(group + "-")]

    def seen(self, group):
        return {value for member in self.of(group) for value in member.read().values()}

    def check_alive(self):
        for member in self.members:
            if member not in self.ended:
                member.check_alive()

    def wait_all_read(self, groups):
        everything = {b"value-%d" % n for n in range(self.sent)}

        def done():
            self.check_alive()
            return all(self.seen(group) == everything for group in groups)

        wait_for(lambda: f"all {self.sent} records read by each group: { {group: len(self.seen(group)) for group in groups} }", done)

    def shared(self, group, values):
        """Whether each of `values` was read by one member alone, and each member that is there read some."""
        there = [member for member in self.of(group) if member not in self.ended]
        parts = [values & set(member.read().values()) for member in there]
        return all(parts) and sum(map(len, parts)) == len(values)

    def wait_shared(self, groups):
        """Sends rounds of records until each group has shared one out: while members still come or go a record may be read twice."""
        open_groups = set(groups)
        for _ in range(SHARING_ROUNDS):
            first = self.sent
            self.produce(SHARING_RECORDS)
            self.wait_all_read(groups)
            values = {b"value-%d" % n for n in range(first, self.sent)}
            open_groups -= {group for group in open_groups if self.shared(group, values)}
            if not open_groups:
                return
        raise Failed(f"in {SHARING_ROUNDS} rounds a group did not share its partitions out: {sorted(open_groups)}")

    def move(self, groups):
        """Moves each group to the start while its members read and records come: all of them go on from there, and what one of them
        commits late does not undo it, else some records would not come a second time."""
        before = {b"value-%d" % n for n in range(self.sent)}
        since = {member: member.out.stat().st_size for member in self.members}
        feeding = threading.Thread(target=self.produce, args=(SHARING_RECORDS * 4,))
        feeding.start()
        for group in groups:
            done = self.broker.cli("group", "seek", group, "--to", "start", "--yes")
            if done["members"] != len(self.of(group)):
                raise Failed(f"{group}: {done['members']} members were put out, not {len(self.of(group))}")
        again = lambda group: before & {value for member in self.of(group) for value in member.read(since[member]).values()}

        def done():
            self.check_alive()
            return all(again(group) == before for group in groups)

        wait_for(lambda: f"all {len(before)} records read again: { {group: len(again(group)) for group in groups} }", done)
        feeding.join()
        self.wait_all_read(groups)
        self.wait_shared(groups)

        def lags():
            return {group: sum(row["lag"] for row in self.broker.cli("group", "lag", group)) for group in groups}

        wait_for(lambda: f"no lag: {lags()}", lambda: not any(lags().values()))
        say(f"moved to the start while they ran: {len(before)} records read again by each group, {self.sent} read, and no lag is left")

    def committed(self, group):
        lines = self.python("committed", self.broker.address, "events", group).splitlines()
        return [tuple(map(int, line.split())) for line in lines]

    def join(self, group, client, strategy):
        member = Member(self.work, len(self.members), client, strategy, group, self.broker.address)
        self.members.append(member)
        return member

    def all(self):
        missing = skipped()
        groups = {}
        for group, members in GROUPS.items():
            members = [(client, strategy) for client, strategy in members if commands()[client][1] not in missing]
            if len(members) < 2:
                say(f"{group}: skipped: {missing}")
            else:
                groups[group] = members
        self.python("create", self.broker.address, "events", PARTITIONS)
        each = self.options.records // 4
        self.produce(each)
        for group, members in groups.items():
            self.join(group, *members[0])
        self.wait_all_read(groups)
        say(f"one member each: {self.sent} records read by {', '.join(groups)}")

        for group, members in groups.items():
            for client, strategy in members[1:]:
                self.join(group, client, strategy)
        self.produce(each)
        self.wait_all_read(groups)
        self.wait_shared(groups)
        say(f"{len(self.members)} members: {self.sent} records read, and shared out: each by one member, some by each")

        if self.broker.name == "yeoul":
            self.move(groups)

        # In each group one member is killed and, where there are enough, one leaves.
        for group in groups:
            for member, number in zip(self.of(group)[:-1], (signal.SIGKILL, signal.SIGTERM)):
                self.ended.append(member)
                member.end(number)
        self.produce(each)
        self.wait_all_read(groups)
        say(f"{len(self.ended)} members killed or gone: {self.sent} records read by the others")

        self.broker.kill()
        self.broker.start()
        self.produce(each)
        self.wait_all_read(groups)
        self.wait_shared(groups)
        say(f"broker killed and started: {self.sent} records read, and shared out")
        for member in self.members:
            if member not in self.ended:
                member.check_alive()
                self.ended.append(member)
                member.end(signal.SIGTERM)
        for group in groups:
            positions = self.committed(group)
            behind = [(partition, offset, end) for partition, offset, end in positions if offset != end and end > 0]
            if behind:
                raise Failed(f"{group}: committed (partition, offset, end): {behind}")
            say(f"{group}: committed to the end in {len(positions)} partitions")


def main():
    parser = scene.arguments("groups")
    parser.add_argument("--records", type=int, default=20_000, help="records at least (default 20000)")
    options = parser.parse_args()
    settings = ["group.initial.rebalance.delay.ms=200"]
    for name, ms in (("session.timeout", 6000), ("heartbeat.interval", 1000)):
        settings += [f"group.consumer.min.{name}.ms={ms}", f"group.consumer.{name}.ms={ms}"]
    scene.play_on_one("groups", options, settings, Run)


if __name__ == "__main__":
    main()
