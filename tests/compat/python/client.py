"""The Python clients: confluent-kafka, kafka-python, aiokafka. Words: tests/compat/README.md."""

import asyncio
import os
import signal
import sys
import time

BASE_MS = 1_700_000_000_000
GIVE_UP_MS = 300_000  # long enough for a broker to be killed and to come back


def paced(rate):
    """A function that, called with the count sent so far, waits until that many are due."""
    began = time.monotonic()

    def wait(sent):
        ahead = sent / rate - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)

    return wait


def records(path, first, end, name):
    """(line number, key, value, timestamp, headers) of each line of the part."""
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            if number >= end:
                return
            if number >= first:
                key, value = line.rstrip(b"\n").split(b"\t", 1)
                headers = [("producer", name.encode()), ("seq", str(number).encode())]
                yield number, key, value, BASE_MS + number, headers


class Log:
    """Which records were acknowledged. Flushed often, since the demo follows it."""

    def __init__(self, path):
        self.file = open(path, "w")
        self.count = 0
        self.errors = []

    def acknowledged(self, number, partition, offset):
        self.file.write(f"{number} {partition} {offset}\n")
        self.count += 1
        if self.count % 100 == 0:
            self.file.flush()

    def failed(self, number, error):
        self.errors.append(f"record {number}: {error}")

    def close(self, expected):
        self.file.close()
        for error in self.errors[:5]:
            print(error, file=sys.stderr)
        if self.errors or self.count != expected:
            sys.exit(f"{self.count} of {expected} records acknowledged, {len(self.errors)} failed")


class Out:
    """The records read, a line each; written at once in the end under the final name."""

    def __init__(self, path):
        self.path = path
        self.file = open(path + ".part", "wb", buffering=1 << 20)

    def record(self, partition, offset, timestamp, headers, key, value):
        text = b",".join(name.encode() + b"=" + held for name, held in headers or ())
        self.file.write(b"%d\t%d\t%d\t%s\t%s\t%s\n" % (partition, offset, timestamp, text, key or b"", value))

    def close(self):
        self.file.close()
        os.rename(self.path + ".part", self.path)


def produce_confluent(bootstrap, topic, path, first, end, name, rate, log):
    from confluent_kafka import Producer

    producer = Producer({
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "message.timeout.ms": GIVE_UP_MS,
        "reconnect.backoff.max.ms": 500,
        "queue.buffering.max.messages": 1_000_000,
        "log_level": 2,
    })

    def told(number):
        def done(error, message):
            if error:
                log.failed(number, error)
            else:
                log.acknowledged(number, message.partition(), message.offset())

        return done

    wait = paced(rate)
    for sent, (number, key, value, timestamp, headers) in enumerate(records(path, first, end, name)):
        producer.produce(topic, value, key, timestamp=timestamp, headers=headers, on_delivery=told(number))
        if sent % 100 == 0:
            producer.poll(0)
            wait(sent)
    producer.flush()


def consume_confluent(bootstrap, topic, out):
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "never-joined",
        "enable.auto.commit": False,
        "check.crcs": True,
        "log_level": 2,
    })
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    left = {}
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        if high > low:
            left[partition] = high
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    while left:
        batch = consumer.consume(5000, timeout=30)
        if not batch:
            sys.exit(f"no records for 30 s; still to read: {left}")
        for message in batch:
            if message.error():
                sys.exit(str(message.error()))
            partition, offset = message.partition(), message.offset()
            out.record(partition, offset, message.timestamp()[1], message.headers(), message.key(), message.value())
            if offset + 1 >= left.get(partition, offset + 2):
                del left[partition]
    consumer.close()


def create_topic(bootstrap, topic, partitions, *settings):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = dict(setting.split("=", 1) for setting in settings)
    new = NewTopic(topic, int(partitions), 1, config=config)
    admin.create_topics([new], operation_timeout=30)[topic].result(30)


def produce_kafka_python(bootstrap, topic, path, first, end, name, rate, log):
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=5,
        delivery_timeout_ms=GIVE_UP_MS,
        max_block_ms=GIVE_UP_MS,
        request_timeout_ms=10_000,
        reconnect_backoff_max_ms=500,
    )

    def told(number):
        return lambda done: log.acknowledged(number, done.partition, done.offset)

    def refused(number):
        return lambda error: log.failed(number, error)

    wait = paced(rate)
    for sent, (number, key, value, timestamp, headers) in enumerate(records(path, first, end, name)):
        future = producer.send(topic, value, key, headers, timestamp_ms=timestamp)
        future.add_callback(told(number)).add_errback(refused(number))
        if sent % 100 == 0:
            wait(sent)
    producer.flush(timeout=GIVE_UP_MS / 1000)
    producer.close()


def consume_kafka_python(bootstrap, topic, out):
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, check_crcs=True, max_poll_records=5000
    )
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    left = {partition: ends[partition] for partition in partitions if ends[partition] > starts[partition]}
    consumer.assign(list(left))
    consumer.seek_to_beginning()
    while left:
        polled = consumer.poll(timeout_ms=30_000)
        if not polled:
            sys.exit(f"no records for 30 s; still to read: {left}")
        for partition, batch in polled.items():
            for record in batch:
                out.record(record.partition, record.offset, record.timestamp, record.headers, record.key, record.value)
            if batch[-1].offset + 1 >= left.get(partition, batch[-1].offset + 2):
                del left[partition]
    consumer.close()


async def consume_aiokafka(bootstrap, topic, out):
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, check_crcs=True)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        left = {partition: ends[partition] for partition in partitions if ends[partition] > starts[partition]}
        consumer.assign(list(left))
        for partition in left:
            consumer.seek(partition, starts[partition])
        while left:
            polled = await consumer.getmany(timeout_ms=30_000)
            if not polled:
                sys.exit(f"no records for 30 s; still to read: {left}")
            for partition, batch in polled.items():
                for record in batch:
                    out.record(record.partition, record.offset, record.timestamp, record.headers, record.key, record.value)
                if batch[-1].offset + 1 >= left.get(partition, batch[-1].offset + 2):
                    del left[partition]
    finally:
        await consumer.stop()


class Member:
    """What a member of a group reads: a line a record (partition, offset, value), flushed before it commits."""

    def __init__(self, path):
        self.file = open(path, "ab")
        self.leaving = False
        signal.signal(signal.SIGTERM, self.leave)

    def leave(self, *_):
        self.leaving = True

    def batch(self, read):
        """Notes records; they are on the disk's side of this process before it says that it has them."""
        for partition, offset, value in read:
            self.file.write(b"%d\t%d\t%s\n" % (partition, offset, value))
        self.file.flush()


def join_confluent(bootstrap, topic, group, strategy, member):
    from confluent_kafka import Consumer, KafkaException

    classic = {"partition.assignment.strategy": strategy, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "log_level": 2,
        **({"group.protocol": "consumer"} if strategy == "consumer" else classic),
    })
    consumer.subscribe([topic])
    while not member.leaving:
        batch = [message for message in consumer.consume(200, timeout=0.5) if not message.error()]
        if batch:
            member.batch((message.partition(), message.offset(), message.value()) for message in batch)
            try:
                consumer.commit(asynchronous=False)
            except KafkaException:
                pass  # a rebalance, or no broker: whoever has the partitions next reads this again
    consumer.close()


def join_kafka_python(bootstrap, topic, group, strategy, member):
    from kafka import KafkaConsumer
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

    assert strategy == "range"
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    while not member.leaving:
        for batch in consumer.poll(timeout_ms=500, max_records=200).values():
            member.batch((record.partition, record.offset, record.value) for record in batch)
        try:
            consumer.commit()
        except KafkaError:
            pass
    consumer.close()


async def join_aiokafka(bootstrap, topic, group, strategy, member):
    from aiokafka import AIOKafkaConsumer
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.errors import KafkaError

    assert strategy == "range"
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    await consumer.start()
    try:
        while not member.leaving:
            try:
                read = await consumer.getmany(timeout_ms=500, max_records=200)
                for batch in read.values():
                    member.batch((record.partition, record.offset, record.value) for record in batch)
                if read:
                    await consumer.commit()
            except KafkaError:
                pass
    finally:
        await consumer.stop()


def print_committed(bootstrap, topic, group):
    """Prints a line a partition: its number, the committed offset, the end."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    for position in consumer.committed([TopicPartition(topic, partition) for partition in partitions], timeout=30):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, position.partition), timeout=30)
        print(position.partition, position.offset, end)
    consumer.close()


TRANSACTION = 50  # records of a transaction
ABORT_EVERY = 5  # the nth transaction of a process is written twice: aborted first


class Transformer:
    """Reads a topic, writes each record to another, and its positions with it: in transactions. Leaves at SIGTERM."""

    def __init__(self):
        self.leaving = False
        self.count = 0
        signal.signal(signal.SIGTERM, self.leave)

    def leave(self, *_):
        self.leaving = True

    def aborts_first(self):
        self.count += 1
        return self.count % ABORT_EVERY == 0


def transact_confluent(bootstrap, source, target, group, name, transformer):
    from confluent_kafka import Consumer, KafkaException, Producer

    def run():
        """True: start anew, after an error that ends this producer."""
        producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": 10_000, "linger.ms": 1, "log_level": 0})
        consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "log_level": 0,
        })
        try:
            producer.init_transactions(60)
            consumer.subscribe([source])
            while not transformer.leaving:
                batch = [message for message in consumer.consume(TRANSACTION, timeout=0.5) if not message.error()]
                if not batch:
                    continue
                if transformer.aborts_first():
                    producer.begin_transaction()
                    for message in batch:
                        producer.produce(target, b"aborted-" + message.value(), message.key())
                    producer.flush(30)
                    producer.abort_transaction(60)
                producer.begin_transaction()
                for message in batch:
                    producer.produce(target, message.value(), message.key())
                producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 60)
                producer.commit_transaction(60)
        except KafkaException as error:
            print(error, file=sys.stderr, flush=True)
            if error.args[0].txn_requires_abort():
                try:
                    producer.abort_transaction(60)
                except KafkaException:
                    pass
        finally:
            consumer.close()

    while not transformer.leaving:
        run()


async def transact_aiokafka(bootstrap, source, target, group, name, transformer):
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.errors import KafkaError

    async def run():
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, transaction_timeout_ms=10_000)
        consumer = AIOKafkaConsumer(
            source,
            bootstrap_servers=bootstrap,
            group_id=group,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        try:
            await producer.start()
            await consumer.start()
            while not transformer.leaving:
                read = await consumer.getmany(timeout_ms=500, max_records=TRANSACTION)
                batch = [record for records in read.values() for record in records]
                if not batch:
                    continue
                if transformer.aborts_first():
                    await producer.begin_transaction()
                    for record in batch:
                        await producer.send(target, b"aborted-" + record.value, record.key)
                    await producer.flush()
                    await producer.abort_transaction()
                async with producer.transaction():
                    for record in batch:
                        await producer.send(target, record.value, record.key)
                    positions = {partition: records[-1].offset + 1 for partition, records in read.items()}
                    await producer.send_offsets_to_transaction(positions, group)
        except KafkaError as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            await consumer.stop()
            try:
                await producer.stop()
            except KafkaError:
                pass

    while not transformer.leaving:
        try:
            await asyncio.wait_for(run(), None)
        except Exception as error:  # aiokafka ends in many ways while its broker is away
            print(repr(error), file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)


def read_committed(bootstrap, topic, isolation):
    """Prints the value of each record from the start to the end that a reader of this isolation may see."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "never-joined",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": isolation,
        "check.crcs": True,
        "log_level": 2,
    })
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    left = set(partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    while left:
        message = consumer.poll(30)
        if message is None:
            sys.exit(f"nothing for 30 s; partitions not at their end: {left}")
        if not message.error():
            sys.stdout.buffer.write(message.value() + b"\n")
        elif message.error().name() == "_PARTITION_EOF":
            left.discard(message.partition())
        else:
            sys.exit(str(message.error()))
    consumer.close()


JOINERS = {
    "confluent": join_confluent,
    "kafka-python": join_kafka_python,
    "aiokafka": lambda *words: asyncio.run(join_aiokafka(*words)),
}
TRANSFORMERS = {
    "confluent": transact_confluent,
    "aiokafka": lambda *words: asyncio.run(transact_aiokafka(*words)),
}
PRODUCERS = {"confluent": produce_confluent, "kafka-python": produce_kafka_python}
CONSUMERS = {
    "confluent": consume_confluent,
    "kafka-python": consume_kafka_python,
    "aiokafka": lambda *words: asyncio.run(consume_aiokafka(*words)),
}


def main(client, verb, bootstrap, topic, *words):
    if verb == "produce":
        path, first, end, name, rate, log_path = words
        log = Log(log_path)
        PRODUCERS[client](bootstrap, topic, path, int(first), int(end), name, float(rate), log)
        log.close(int(end) - int(first))
    elif verb == "join":
        group, strategy, path = words
        JOINERS[client](bootstrap, topic, group, strategy, Member(path))
    elif verb == "transact":
        TRANSFORMERS[client](bootstrap, topic, *words, Transformer())
    elif verb == "values":
        read_committed(bootstrap, topic, *words)
    elif verb == "committed":
        print_committed(bootstrap, topic, *words)
    elif verb == "create":
        create_topic(bootstrap, topic, *words)
    else:
        out = Out(words[0])
        CONSUMERS[client](bootstrap, topic, out)
        out.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
