"""MirrorMaker 2 between Kafka and Yeoul, both ways: see scripts/mirror.sh, which brings what this needs and calls it."""

import collections
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import brokers
import scene
from jvm import Jvm
from scene import Failed, say, wait_for

PARTITIONS = 3
BASE_MS = 1_700_000_000_000
GROUP = "readers"
RETENTION_MS = "31536000000000"  # a thousand years: the records are as old as BASE_MS says
PATIENCE_S = 180


class Side:
    """A cluster as its clients see it."""

    def __init__(self, name, broker):
        self.name, self.broker, self.sent = name, broker, 0
        self.admin = None

    def start(self):
        self.broker.start()
        self.admin = AdminClient({"bootstrap.servers": self.broker.address})

    def create(self, topic):
        settings = {"retention.ms": RETENTION_MS}
        self.admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=settings)])[topic].result(30)

    def send(self, topic, count):
        producer, failed = Producer({"bootstrap.servers": self.broker.address}), []
        for n in range(self.sent, self.sent + count):
            told = lambda error, _: error and failed.append(error)
            headers = [("n", str(n).encode())]
            producer.produce(topic, f"{topic} {n}", f"key-{n % 50}", timestamp=BASE_MS + n, headers=headers, on_delivery=told)
            producer.poll(0)
        if producer.flush(60) or failed:
            raise Failed(f"{self.name} did not take all records: {failed[:1]}")
        self.sent += count

    def consumer(self, group="unused"):
        return Consumer({"bootstrap.servers": self.broker.address, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"})

    def has(self, topic):
        return topic in self.admin.list_topics(timeout=30).topics

    def records(self, topic, positions=None):
        """{partition: [(key, value, time, headers)]} from the start, or from `positions`, to the end."""
        consumer, found = self.consumer(), collections.defaultdict(list)
        left = {}
        for partition in range(PARTITIONS):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            first = low if positions is None else positions.get(partition, low)
            if first < high:
                left[partition] = high
                found[partition] = []
                consumer.incremental_assign([TopicPartition(topic, partition, first)])
        until = time.monotonic() + PATIENCE_S
        while left:
            if time.monotonic() > until:
                raise Failed(f"{topic} of {self.name} cannot be read to {left}")
            for record in consumer.consume(1_000, timeout=5):
                if record.error():
                    raise Failed(f"reading {topic} of {self.name}: {record.error()}")
                one = (record.key(), record.value(), record.timestamp()[1], tuple(record.headers() or ()))
                found[record.partition()].append(one)
                if record.offset() + 1 >= left.get(record.partition(), sys.maxsize):
                    del left[record.partition()]
        consumer.close()
        return dict(found)

    def read_most(self, topic):
        """Three quarters of each partition read by GROUP, committed: beyond all that was copied before MirrorMaker was started
        again. Of positions before that it may know too little to translate them, ever, if the group does not go on."""
        consumer, positions = self.consumer(GROUP), []
        for partition in range(PARTITIONS):
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            positions.append(TopicPartition(topic, partition, high * 3 // 4))
        consumer.commit(offsets=positions, asynchronous=False)
        consumer.close()
        return {at.partition: at.offset for at in positions}

    def positions(self, topic):
        future = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)])[GROUP]
        told = future.result(30).topic_partitions
        return {at.partition: at.offset for at in told if at.topic == topic and at.offset >= 0}

    def setting(self, topic, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(30)[name].value


def mirror_settings(sides):
    settings = {"clusters": ", ".join(side.name for side in sides)}
    for side in sides:
        settings[f"{side.name}.bootstrap.servers"] = side.broker.address
    for source, target in (sides, sides[::-1]):
        flow = f"{source.name}->{target.name}"
        settings |= {f"{flow}.enabled": "true", f"{flow}.topics": f"of-{source.name}", f"{flow}.groups": GROUP}
    for what in ("", "checkpoints.topic.", "heartbeats.topic.", "offset-syncs.topic.", "offset.storage.", "status.storage.", "config.storage."):
        settings[f"{what}replication.factor"] = 1
    for what in ("refresh.topics", "refresh.groups", "sync.topic.configs", "emit.heartbeats", "emit.checkpoints", "sync.group.offsets"):
        settings[f"{what}.interval.seconds"] = 1
    return settings | {"sync.group.offsets.enabled": "true", "offset.flush.interval.ms": 1_000, "offset.lag.max": 10, "tasks.max": 2}


def check_copied(source, target, maker):
    """All of the source's records, in the order of their partitions; a kill may have some come twice."""
    topic = f"of-{source.name}"
    copy, whole = f"{source.name}.{topic}", source.records(topic)

    def missing():
        maker.check_alive()
        if not target.has(copy):
            return {"topic": copy}
        found = target.records(copy)
        return {partition: len(set(records) - set(found.get(partition, ()))) for partition, records in whole.items() if set(records) - set(found.get(partition, ()))}

    wait_for(lambda: f"{copy} in {target.name} lacks {missing()}:\n{maker.log()[-3000:]}", lambda: not missing(), PATIENCE_S)
    found = target.records(copy)
    for partition, records in whole.items():
        firsts = list(dict.fromkeys(found[partition]))
        if firsts != records:
            raise Failed(f"{copy}/{partition}: {len(firsts)} records of {len(records)}, or in another order")
    if target.setting(copy, "retention.ms") != RETENTION_MS:
        raise Failed(f"{copy}: retention.ms is {target.setting(copy, 'retention.ms')}")
    twice = sum(map(len, found.values())) - sum(map(len, whole.values()))
    say(f"{source.name} to {target.name}: {source.sent} records with keys, times and headers, in order; {twice} came twice")
    return copy


def check_positions(source, target, copy, read, maker):
    """A group that goes on at the target misses nothing that it had not read."""
    whole = source.records(f"of-{source.name}")

    def translated():
        maker.check_alive()
        return target.positions(copy)

    wait_for(lambda: f"positions of {GROUP} in {copy}: {translated()}:\n{maker.log()[-3000:]}", lambda: translated().keys() == read.keys(), 120)
    positions = translated()
    rest = target.records(copy, positions)
    again = 0
    for partition, position in read.items():
        unread = whole[partition][position:]
        got = rest.get(partition, [])
        if set(unread) - set(got):
            raise Failed(f"{copy}/{partition}: from {positions[partition]} on {len(set(unread) - set(got))} unread records are missing")
        again += len(set(got)) - len(unread)
    say(f"{source.name} to {target.name}: {GROUP} goes on at {positions}, misses nothing and reads {again} records again")


def mirror(sides, each, work, makers):
    for side in sides:
        side.start()
        side.create(f"of-{side.name}")
        side.send(f"of-{side.name}", each)
    properties = work / "mirror.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in mirror_settings(sides).items()))
    maker = Jvm(work, "mirror-maker", "connect", ["org.apache.kafka.connect.mirror.MirrorMaker", properties], heap="512m")
    makers.append(maker)
    maker.start()
    for source, target in (sides, sides[::-1]):
        check_copied(source, target, maker)
    for side in sides:
        side.send(f"of-{side.name}", each)
    maker.kill()
    for side in sides:
        side.send(f"of-{side.name}", each)
    maker.start()
    copies = [check_copied(source, target, maker) for source, target in (sides, sides[::-1])]
    for (source, target), copy in zip((sides, sides[::-1]), copies):
        check_positions(source, target, copy, source.read_most(f"of-{source.name}"), maker)
    maker.end()


def main():
    parser = scene.arguments("mirror", peers=False)
    parser.add_argument("--records", type=int, default=9_000, help="records of each side (default 9000)")
    options = parser.parse_args()

    def play(work, closing):
        yeoul = brokers.Yeoul(work / "yeoul", brokers.yeoul_binary(options.binary), ["group.initial.rebalance.delay.ms=200"])
        sides = [Side("kafka", brokers.Kafka(work / "kafka", heap="512m")), Side("yeoul", yeoul)]
        closing += [side.broker for side in sides]
        mirror(sides, options.records // 3, work, closing)
        for side in sides:
            side.broker.stop()

    scene.play("mirror", options, play)


if __name__ == "__main__":
    main()
