"""Prints the lines of a topic from a time on, oldest first. See README.md."""

import argparse
import datetime
import sys

from confluent_kafka import Consumer, TopicPartition


def milliseconds(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def lines(bootstrap, topic, since, until):
    """(time, line) of each record in question, as the topic has it now, in no order among partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "replay", "enable.auto.commit": False, "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    begins = consumer.offsets_for_times([TopicPartition(topic, index, since) for index in partitions], timeout=10)
    left = {at.partition for at in begins if at.offset >= 0}  # in the others nothing is as new
    consumer.assign([at for at in begins if at.partition in left])
    while left:
        record = consumer.poll(10)
        if record is None:
            sys.exit(f"the broker is silent; partitions {sorted(left)} are not read")
        if record.error():
            left.discard(record.partition())  # the end, for now
            continue
        at_ms = record.timestamp()[1]
        if since <= at_ms < until:
            yield at_ms, record.value().decode(errors="replace")
    consumer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("--since", required=True, type=milliseconds, help="RFC 3339")
    parser.add_argument("--until", default=2**62, type=milliseconds, help="RFC 3339; not included")
    parser.add_argument("--level", help="only lines of this level")
    options = parser.parse_args()
    found = lines(options.bootstrap, options.topic, options.since, options.until)
    for _, line in sorted(found, key=lambda pair: pair[0]):
        if options.level is None or line.split(" ", 2)[1] == options.level:
            print(line)


if __name__ == "__main__":
    main()
