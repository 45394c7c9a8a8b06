"""Applications of Kafka Streams: see scripts/streams.sh, which brings what this needs and calls it."""

import collections
import random

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import scene
from brokers import HOME
from jvm import Jvm
from scene import Failed, say, wait_for

PARTITIONS = 4
BASE_MS = 1_700_000_000_000 // 60_000 * 60_000
WORDS = [f"word{n}" for n in range(300)]


class Topic:
    """The newest value of each key of a topic, as far as it has been read."""

    def __init__(self, address, name):
        settings = {"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self.values = {}
        self.consumer = Consumer(settings)
        self.consumer.assign([TopicPartition(name, partition, 0) for partition in range(PARTITIONS)])

    def read(self):
        for record in self.consumer.consume(1_000, timeout=0.5):
            if record.error():
                raise Failed(f"reading {record.topic()}: {record.error()}")
            self.values[record.key().decode()] = record.value().decode()
        return self.values

    def close(self):
        self.consumer.close()


def create(address, *names):
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1, config={"retention.ms": "-1"}) for name in names]).values():
        future.result(30)


def send(address, topic, records):
    """Sends (key, value) or (key, value, time in ms)."""
    failed = []
    producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
    for record in records:
        while True:
            try:
                timestamp = {"timestamp": record[2]} if len(record) > 2 else {}
                producer.produce(topic, record[1], record[0], on_delivery=lambda error, _: error and failed.append(error), **timestamp)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60) or failed:
        raise Failed(f"not all records were taken by {topic}: {failed[:1]}")


class Run:
    def __init__(self, options, work, broker):
        self.options, self.work, self.broker, self.apps = options, work, broker, []

    def close(self):
        for app in self.apps:
            app.close()

    def start(self, name, guarantee):
        words = ["App", name, self.broker.address, guarantee, self.work / f"state-{name}-{guarantee}"]
        app = Jvm(self.work, f"{name}-{guarantee}", "streams", words, classes=[HOME / "classes-streams"]).start()
        self.apps.append(app)
        return app

    def wait_result(self, app, output, expected):
        """Until what the application says is `expected`."""

        def done():
            app.check_alive()
            return output.read() == expected

        def told():
            missing = {key: (output.values.get(key), value) for key, value in expected.items() if output.values.get(key) != value}
            return f"{app.name}: {len(missing)} of {len(expected)} are not as they should be (got, expected): {list(missing.items())[:5]}\n{app.log()[-2000:]}"

        wait_for(told, done, 90)

    def count(self, guarantee, end):
        """Words counted; after a third of the lines the application is ended as `end` says, and started again after two."""
        address, prng = self.broker.address, random.Random(7)
        lines = [" ".join(prng.choices(WORDS, k=prng.randint(3, 9))) for _ in range(self.options.lines)]
        thirds = [lines[n::3] for n in range(3)]
        expected = collections.Counter()
        lines_topic, counts_topic = f"lines-{guarantee}", f"counts-{guarantee}"
        create(address, lines_topic, counts_topic)
        output = Topic(address, counts_topic)

        def feed(part):
            send(address, lines_topic, [(str(n), line) for n, line in enumerate(part)])
            for line in part:
                expected.update(line.split(" "))
            return {word: str(count) for word, count in expected.items()}

        feed(thirds[0])
        app = self.start("count", guarantee)
        self.wait_result(app, output, {word: str(count) for word, count in expected.items()})
        feed(thirds[1])
        end(app)
        app = self.start("count", guarantee)
        result = feed(thirds[2])
        self.wait_result(app, output, result)
        app.end()
        output.close()
        say(f"word count, {guarantee}: {len(lines)} lines, {sum(expected.values())} words; each of {len(expected)} counts is right")

    def join(self, guarantee, end):
        """Orders priced and added up by item and minute; ended after a third of the orders, and started again after two."""
        address, prng = self.broker.address, random.Random(8)
        prices = {f"item{n}": prng.randint(1, 900) for n in range(40)}
        orders = []
        for n in range(self.options.lines):
            # Each after the one before, so that no window is closed when its orders come; a hundred minutes in all.
            at = BASE_MS + 1_000 + n * 6_000_000 // self.options.lines
            orders.append((prng.choice(list(prices)), prng.randint(1, 20), at))
        expected = collections.Counter()
        for item, many, at in orders:
            expected[f"{item}@{at // 60_000}"] += many * prices[item]
        prices_topic, orders_topic, revenue_topic = (f"{name}-{guarantee}" for name in ("prices", "orders", "revenue"))
        create(address, prices_topic, orders_topic, revenue_topic)
        output = Topic(address, revenue_topic)
        send(address, prices_topic, [(item, str(price), BASE_MS) for item, price in prices.items()])
        third = -(-len(orders) // 3)
        feed = lambda part: send(address, orders_topic, [(item, str(many), at) for item, many, at in orders[part * third : (part + 1) * third]])
        feed(0)
        app = self.start("join", guarantee)
        wait_for(lambda: f"{app.name}: no result:\n{app.log()[-2000:]}", lambda: app.check_alive() or output.read())
        feed(1)
        end(app)
        app = self.start("join", guarantee)
        feed(2)
        self.wait_result(app, output, {key: str(value) for key, value in expected.items()})
        app.end()
        output.close()
        say(f"join and window, {guarantee}: {len(orders)} orders; each of {len(expected)} sums is right")

    def all(self):
        # What is at least once is right in the end if it was ended in order; what is exactly once, if it was killed, too.
        ends = {"at_least_once": lambda app: app.end(), "exactly_once_v2": lambda app: app.kill()}
        for guarantee in self.options.guarantees:
            self.count(guarantee, ends[guarantee])
            self.join(guarantee, ends[guarantee])


def main():
    parser = scene.arguments("streams")
    parser.add_argument("--lines", type=int, default=30_000, help="lines of text (default 30000)")
    guarantees = ["at_least_once", "exactly_once_v2"]
    parser.add_argument("--guarantees", nargs="+", choices=guarantees, default=guarantees, help="which to try (default: both)")
    scene.play_on_one("streams", parser.parse_args(), ["group.initial.rebalance.delay.ms=200"], Run)


if __name__ == "__main__":
    main()
