"""Places orders. See README.md."""

import argparse
import json
import random
import sys

from confluent_kafka import Producer

from service import create_topics


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first")
    options = parser.parse_args()
    create_topics(options.bootstrap)
    producer = Producer({"bootstrap.servers": options.bootstrap, "enable.idempotence": True, "linger.ms": 5})
    chance, failed = random.Random(options.first), []
    for order in range(options.first, options.first + options.orders):
        customer = f"customer-{chance.randrange(100)}"
        placed = {"order": order, "customer": customer, "amount": chance.randrange(1, 1_000)}
        producer.produce("orders", json.dumps(placed), key=customer, on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.poll(0)
    producer.flush()
    if failed:
        sys.exit(f"{len(failed)} orders not placed: {failed[0]}")
    print(f"{options.orders} orders placed")


if __name__ == "__main__":
    main()
