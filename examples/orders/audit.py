"""Waits until every order is through, and says whether each was handled exactly once. See README.md."""

import argparse
import collections
import sys
import time
import uuid

from confluent_kafka import Consumer

from service import TOPICS, event


def through(seen):
    paid = [order for order, payments in seen["payments"].items() if payments[0]["status"] == "paid"]
    return len(seen["payments"]) >= len(seen["orders"]) > 0 and all(order in seen["shipments"] for order in paid)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("--orders", type=int, default=1, help="wait for at least so many")
    parser.add_argument("--seconds", type=float, default=120, help="give up after so long")
    options = parser.parse_args()
    consumer = Consumer({"bootstrap.servers": options.bootstrap, "group.id": f"audit-{uuid.uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False, "isolation.level": "read_committed"})
    consumer.subscribe(list(TOPICS))
    seen = {topic: collections.defaultdict(list) for topic in TOPICS}
    until, quiet = time.monotonic() + options.seconds, 0
    # A second look after all is through: what was written twice comes late.
    while quiet < 3 and time.monotonic() < until:
        record = consumer.poll(1)
        if record is not None and not record.error():
            told = event(record)
            seen[record.topic()][told["order"]].append(told)
            quiet = 0
        elif len(seen["orders"]) >= options.orders and through(seen):
            quiet += 1
    consumer.close()
    twice = {topic: sum(len(events) > 1 for events in orders.values()) for topic, orders in seen.items()}
    unpaid = [order for order in seen["orders"] if order not in seen["payments"]]
    wrong = [order for order, payments in seen["payments"].items() if (payments[0]["status"] == "paid") != (order in seen["shipments"])]
    print(f"{len(seen['orders'])} orders, {len(seen['payments'])} payments, {len(seen['shipments'])} shipments; twice: {twice}; not paid for: {len(unpaid)}; paid and not shipped, or the reverse: {len(wrong)}")
    sys.exit(1 if any(twice.values()) or unpaid or wrong or quiet < 3 else 0)


if __name__ == "__main__":
    main()
