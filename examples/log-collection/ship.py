"""Ships log files to a topic, one producer a file. See README.md."""

import argparse
import datetime
import os
import pathlib
import sys
import threading
import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

WEEK_MS = 7 * 24 * 3600 * 1000
FLUSH_LINES = 1_000  # between two notes of how far the broker has acknowledged


def create(bootstrap, topic):
    """The topic, if it is not there: four partitions that keep a week."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        admin.create_topics([NewTopic(topic, 4, config={"retention.ms": str(WEEK_MS)})])[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


class Shipper:
    """One file on its way; `run` returns when the file has been shipped, or never with `follow`."""

    def __init__(self, bootstrap, topic, path, follow):
        self.topic, self.path, self.follow = topic, pathlib.Path(path), follow
        self.note = self.path.with_name(self.path.name + ".shipped")
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "compression.type": "zstd"})
        self.failure = None
        self.shipped = 0

    def run(self):
        start = int(self.note.read_text()) if self.note.exists() else 0
        with open(self.path, "rb") as file:
            file.seek(start)
            while self.failure is None:
                line = file.readline()
                if line.endswith(b"\n"):
                    self.send(line[:-1])
                    if self.shipped % FLUSH_LINES:
                        continue
                    self.acknowledged(file.tell())
                else:
                    file.seek(-len(line), os.SEEK_CUR)  # a line that is still being written
                    self.acknowledged(file.tell())
                    if not self.follow:
                        return
                    time.sleep(0.2)

    def send(self, line):
        when = line.split(b" ", 1)[0].decode()
        at_ms = round(datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() * 1000)
        while True:
            try:
                self.producer.produce(self.topic, line, key=self.path.name, timestamp=at_ms, on_delivery=self.told)
                break
            except BufferError:  # the broker is slower than the disk
                self.producer.poll(0.1)
        self.producer.poll(0)
        self.shipped += 1

    def told(self, error, _):
        self.failure = self.failure or error

    def acknowledged(self, position):
        self.producer.flush()
        if self.failure is None:
            self.note.write_text(str(position))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--follow", action="store_true", help="go on with what is written to the files")
    options = parser.parse_args()
    create(options.bootstrap, options.topic)
    shippers = [Shipper(options.bootstrap, options.topic, path, options.follow) for path in options.files]
    threads = [threading.Thread(target=shipper.run, daemon=True) for shipper in shippers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for shipper in shippers:
        print(f"{shipper.path}: {shipper.shipped} lines" + (f", then {shipper.failure}" if shipper.failure else ""))
    sys.exit(1 if any(shipper.failure for shipper in shippers) else 0)


if __name__ == "__main__":
    main()
