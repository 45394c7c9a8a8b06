"""A compacted topic under load: see scripts/compaction.sh, which installs what this needs and calls it.

One partition and one idempotent producer: the offset of an update is its number, so that every reader can be held against the keys.
"""

import re
import threading
import time
import urllib.request

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import scene
from scene import Failed, say

TOPIC = "newest"
VALUE = b"v" * 80
RECORD_BYTES = 8 + len(VALUE) + 20  # a record with its key and varints, about
SEGMENT_BYTES = 16 << 20
DEADLINE_S = 300


def key_of(update, keys):
    """Any key, by a fixed rule (SplitMix64)."""
    z = (update + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    z = (z ^ z >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return (z ^ z >> 31) % keys


class Run:
    def __init__(self, options, _, broker):
        self.options, self.broker = options, broker
        self.sizes = []

    def size(self):
        return sum(path.stat().st_size for path in self.broker.segments(TOPIC).get(0, []) if path.exists())

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.broker.admin.removeprefix('http://')}/public_metrics") as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^yeoul_kafka_log_cleaner_{name}(?:{{.*}})? (\S+)$", text, re.M))

    def write(self):
        options = {"bootstrap.servers": self.broker.address, "enable.idempotence": True, "linger.ms": 20, "queue.buffering.max.messages": 500_000}
        producer = Producer({**options, "batch.num.messages": 10_000})
        looked = began = time.monotonic()
        for update in range(self.options.updates):
            while True:
                try:
                    producer.produce(TOPIC, key=b"%08d" % key_of(update, self.options.keys), value=b"%d " % update + VALUE, partition=0)
                    break
                except BufferError:
                    producer.poll(0.1)
            if update % 10_000 == 0:
                producer.poll(0)
                if time.monotonic() - looked > 1:
                    looked = time.monotonic()
                    self.sizes.append(self.size())
        left = producer.flush(DEADLINE_S)
        if left:
            raise Failed(f"{left} updates were not acknowledged")
        return time.monotonic() - began

    def read(self, who):
        """Reads from the start until it has seen, of each key, what was the newest when it began, or newer; how many records.

        While the producer writes, what was the newest may be compacted away before it is read: then a newer one lies further on.
        """
        consumer = Consumer({"bootstrap.servers": self.broker.address, "group.id": "none", "enable.auto.commit": False, "auto.offset.reset": "error"})
        _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=30)
        newest = {}
        for update in range(end):
            newest[b"%08d" % key_of(update, self.options.keys)] = update
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        seen, count, last, until = {}, 0, -1, time.monotonic() + DEADLINE_S
        while last < end - 1 or any(seen.get(key, -1) < update for key, update in newest.items()):
            if time.monotonic() > until:
                raise Failed(f"the reader {who} came to {last} of {end} in {DEADLINE_S} s and has not seen the newest of each key")
            for message in consumer.consume(10_000, timeout=1):
                if message.error():
                    raise Failed(f"the reader {who}: {message.error()}")
                offset, update = message.offset(), int(message.value().split(b" ", 1)[0])
                if offset <= last or offset != update:
                    raise Failed(f"the reader {who} met update {update} at offset {offset} after {last}")
                last, count = offset, count + 1
                seen[message.key()] = update
        consumer.close()
        say(f"reader {who}: {count:,} records up to offset {last:,}, the newest of {len(newest):,} keys as of {end:,}")
        return count

    def read_beside(self, failures, done):
        """Readers from the start, one after another, as long as the producer writes."""
        number = 0
        while not done.wait(3):
            number += 1
            try:
                self.read(f"{number} beside the producer")
            except (Failed, KafkaException) as error:
                failures.append(error)
                return

    def settle(self):
        """Waits until little but the live records is left."""
        live = self.options.keys * RECORD_BYTES
        most = 2 * live + 2 * SEGMENT_BYTES
        until = time.monotonic() + DEADLINE_S
        while self.size() > most:
            if time.monotonic() > until:
                raise Failed(f"{self.size():,} bytes on disk after {DEADLINE_S} s, {live:,} of them live")
            time.sleep(0.2)
        return live

    def close(self):
        pass

    def all(self):
        admin = AdminClient({"bootstrap.servers": self.broker.address})
        config = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.3"}
        admin.create_topics([NewTopic(TOPIC, 1, 1, config=config)])[TOPIC].result(30)
        failures, done = [], threading.Event()
        reader = threading.Thread(target=self.read_beside, args=(failures, done), daemon=True)
        if self.options.beside:
            reader.start()
        cpu = self.broker.cpu_seconds()
        took = self.write()
        written = self.options.updates * RECORD_BYTES
        at_end = self.size()
        cpu = self.broker.cpu_seconds() - cpu
        done.set()
        began = time.monotonic()
        live = self.settle()
        settled = time.monotonic() - began
        if self.options.beside:
            reader.join(DEADLINE_S)
        if failures:
            raise failures[0]
        say(f"{self.options.updates:,} updates of {self.options.keys:,} keys in {took:.1f} s ({self.options.updates / took:,.0f}/s), broker CPU {cpu:.1f} s")
        say(f"about {written / 1e6:,.0f} MB written, {live / 1e6:,.1f} MB live; on disk at most {max(self.sizes, default=0) / 1e6:,.1f} MB while "
            f"writing, {at_end / 1e6:,.1f} MB at its end, {self.size() / 1e6:,.1f} MB {settled:.1f} s later")
        read, wrote = self.metric("read_bytes_total"), self.metric("written_bytes_total")
        passes, seconds = self.metric("clean_time_seconds_count"), self.metric("clean_time_seconds_sum")
        rate = (read + wrote) / 1e6 / seconds if seconds else 0
        say(f"cleaner: {passes:.0f} passes in {seconds:.1f} s, {read / 1e6:,.0f} MB read, {wrote / 1e6:,.0f} MB written, {rate:,.0f} MB/s; "
            f"broker memory at most {self.broker.memory('VmHWM') / 1e6:,.0f} MB")
        self.read("at the end")
        self.broker.kill()
        self.broker.start()
        say(f"ready {self.broker.ready_ms:.0f} ms after SIGKILL")
        self.read("after a kill")


def main():
    parser = scene.arguments("compaction", peers=False)
    parser.add_argument("--updates", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rate", type=float, help="log.cleaner.io.max.bytes.per.second")
    parser.add_argument("--no-readers", dest="beside", action="store_false", help="none while it is written")
    options = parser.parse_args()
    settings = ["log.cleaner.backoff.ms=500"]
    if options.rate:
        settings.append(f"log.cleaner.io.max.bytes.per.second={options.rate}")
    scene.play_on_one("compaction", options, settings, Run, catch=(KafkaException,))


if __name__ == "__main__":
    main()
