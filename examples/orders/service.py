"""A service: reads events, decides, writes events; what it wrote and how far it has read are one transaction. See README.md."""

import json
import signal

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPICS = ("orders", "payments", "shipments")
EVENTS_AT_ONCE = 50


def create_topics(bootstrap):
    """The topics, where they are not there; three partitions each."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    missing = set(TOPICS) - set(admin.list_topics(timeout=10).topics)
    if not missing:
        return
    for future in admin.create_topics([NewTopic(topic, 3) for topic in missing]).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another service may be quicker
                raise


def event(record):
    return json.loads(record.value())


def after(records):
    """The positions behind these records."""
    last = {(record.topic(), record.partition()): record.offset() for record in records}
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]


class Service:
    """Instance `instance` of service `name`; `decide` turns an event into [(topic, key, event)]."""

    def __init__(self, bootstrap, name, instance, source, decide):
        self.decide, self.stopped = decide, False
        create_topics(bootstrap)
        # Whoever takes over a partition must not read before its last owner's transaction is through: read_committed.
        reads = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "isolation.level": "read_committed", "session.timeout.ms": 10_000}
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": name, **reads})
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{name}-{instance}", "linger.ms": 5})
        self.consumer.subscribe([source])
        self.producer.init_transactions()  # ends what a killed instance of this name left open
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopped = True

    def run(self):
        while not self.stopped:
            records = [record for record in self.consumer.consume(EVENTS_AT_ONCE, timeout=0.5) if not record.error()]
            if records:
                self.handle(records)
        self.consumer.close()

    def handle(self, records):
        self.producer.begin_transaction()
        try:
            for record in records:
                for topic, key, answer in self.decide(event(record)):
                    self.producer.produce(topic, json.dumps(answer), key=key)
            self.producer.send_offsets_to_transaction(after(records), self.consumer.consumer_group_metadata())
            self.producer.commit_transaction()
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.producer.abort_transaction()  # for example, the group has given the partition to another instance
            self.back_to_committed()

    def back_to_committed(self):
        for at in self.consumer.committed(self.consumer.assignment()):
            at.offset = max(at.offset, 0)
            self.consumer.seek(at)
