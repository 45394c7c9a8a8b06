"""Makes up readings of sensors, one a second each, and prints those that are wrong on purpose: SENSOR TIME_MS. See README.md."""

import argparse
import random
import sys
import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

NOISE = 0.5
WRONG_BY = 25  # degrees
MINUTE_MS = 60_000
WRONG_AFTER_S = 15  # of a minute: before, nobody can know what is usual


def create(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for topic, future in admin.create_topics([NewTopic("readings", 4), NewTopic("alerts", 1)]).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                sys.exit(f"{topic}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("--sensors", type=int, default=20)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--wrong", type=float, default=0.01, help="share of the readings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    create(options.bootstrap)
    chance, failed = random.Random(options.seed), []
    producer = Producer({"bootstrap.servers": options.bootstrap, "enable.idempotence": True, "linger.ms": 5})
    first = (int(time.time() * 1000) // MINUTE_MS - options.minutes) * MINUTE_MS
    for second in range(options.minutes * 60):
        at_ms = first + second * 1000
        for number in range(options.sensors):
            sensor, reading = f"sensor-{number}", chance.gauss(20 + number, NOISE)
            if second % 60 >= WRONG_AFTER_S and chance.random() < options.wrong:
                reading += chance.choice((-WRONG_BY, WRONG_BY))
                print(sensor, at_ms)
            producer.produce("readings", f"{reading:.3f}", key=sensor, timestamp=at_ms, on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.poll(0)
    producer.flush()
    if failed:
        sys.exit(f"{len(failed)} readings not written: {failed[0]}")


if __name__ == "__main__":
    main()
