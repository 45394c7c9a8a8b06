"""Kafka Connect, by itself and in a cluster of two: see scripts/connect.sh, which brings what this needs and calls it."""

import collections
import json
import socket
import urllib.error
import urllib.request

from confluent_kafka import Consumer, TopicPartition

import scene
from jvm import Jvm
from scene import Failed, say, wait_for

CONVERTERS = {"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter"}
SOURCE, SINK = ("org.apache.kafka.connect.file.FileStream%sConnector" % kind for kind in ("Source", "Sink"))


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Worker(Jvm):
    """One worker; its REST port stays the same over restarts."""

    def __init__(self, work, name, kind, settings, connectors=()):
        self.port = free_port()
        settings = {**CONVERTERS, "listeners": f"http://127.0.0.1:{self.port}", "plugin.discovery": "service_load", **settings}
        files = [self.properties(work, name, settings), *(self.properties(work, one["name"], one) for one in connectors)]
        super().__init__(work, name, "connect", [f"org.apache.kafka.connect.cli.Connect{kind}", *files], heap="384m")

    @staticmethod
    def properties(work, name, settings):
        path = work / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    def ask(self, path, body=None, method=None):
        """The answer of its REST interface, or nothing while it has none."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None


class Files:
    """A file that grows, and the file in which its lines are to arrive."""

    def __init__(self, work, name):
        self.name, self.source, self.sink, self.count = name, work / f"{name}.in", work / f"{name}.out", 0
        self.source.touch()

    def connectors(self):
        source = {"name": f"{self.name}-source", "connector.class": SOURCE, "tasks.max": "1", "file": str(self.source), "topic": self.name}
        sink = {"name": f"{self.name}-sink", "connector.class": SINK, "tasks.max": "1", "file": str(self.sink), "topics": self.name}
        return [source, sink]

    def grow(self, count):
        with open(self.source, "a") as file:
            file.writelines(f"{self.name} line {n}\n" for n in range(self.count, self.count + count))
        self.count += count

    def arrived(self):
        """{line: how often it arrived}; a line that a kill has cut does not count."""
        whole = self.sink.read_bytes().split(b"\n")[:-1] if self.sink.exists() else []
        return collections.Counter(line.decode() for line in whole)

    def complete(self):
        arrived = self.arrived()
        return all(arrived[f"{self.name} line {n}"] for n in range(self.count))

    def check_once(self, address):
        """Each line is in the topic once, in order, for who reads committed records."""
        settings = {"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, "isolation.level": "read_committed"}
        consumer, lines = Consumer(settings), []
        consumer.assign([TopicPartition(self.name, 0, 0)])
        wanted = [f"{self.name} line {n}" for n in range(self.count)]

        def read(seconds):
            found = [record.value().decode() for record in consumer.consume(1_000, timeout=seconds) if not record.error()]
            lines.extend(found)
            return found

        wait_for(lambda: f"{len(lines)} lines of {self.name} can be read, of {self.count}", lambda: not read(0.5) and len(lines) >= self.count)
        read(2)  # what is there too often
        consumer.close()
        if lines != wanted:
            raise Failed(f"{self.name}: {len(lines)} lines in the topic, {len(set(lines))} different, of {self.count}")

    def told(self):
        arrived = self.arrived()
        missing = [n for n in range(self.count) if not arrived[f"{self.name} line {n}"]]
        return f"{self.name}: {len(missing)} of {self.count} lines are missing, from line {missing[:1]}"


class Run:
    def __init__(self, options, work, broker):
        self.options, self.work, self.broker, self.workers = options, work, broker, []

    def close(self):
        for worker in self.workers:
            worker.close()

    def worker(self, *words):
        worker = Worker(self.work, *words)
        self.workers.append(worker)
        return worker

    def wait_complete(self, workers, files):
        def done():
            for worker in workers:
                worker.check_alive()
            return all(one.complete() for one in files)

        wait_for(lambda: "; ".join([*(one.told() for one in files), *(worker.log()[-1500:] for worker in workers)]), done)

    def standalone(self):
        """At least once: of a worker that was killed some lines may arrive twice, none may be lost."""
        each, files = self.options.lines // 3, Files(self.work, "alone")
        settings = {"bootstrap.servers": self.broker.address, "offset.storage.file.filename": self.work / "offsets", "offset.flush.interval.ms": 500}
        worker = self.worker("standalone", "Standalone", settings, files.connectors())
        files.grow(each)
        worker.start()
        self.wait_complete([worker], [files])
        files.grow(each)
        worker.kill()
        worker.start()
        files.grow(each)
        self.wait_complete([worker], [files])
        worker.end()
        twice = sum(count - 1 for count in files.arrived().values())
        say(f"standalone: {files.count} lines through a topic into a file, the worker killed once; {twice} arrived twice")

    def distributed(self, exactly_once=False):
        """Two workers share the tasks of two pairs of files; one is killed. With `exactly_once` the sources write in transactions."""
        cluster = "exact" if exactly_once else "connect"
        each, pairs = self.options.lines // 3, [Files(self.work, f"{cluster}-{name}") for name in ("left", "right")]
        settings = {"bootstrap.servers": self.broker.address, "group.id": cluster, "offset.flush.interval.ms": 500}
        if exactly_once:
            settings |= {"exactly.once.source.support": "enabled", "consumer.isolation.level": "read_committed"}
        for kind in ("config", "offset", "status"):
            settings |= {f"{kind}.storage.topic": f"{cluster}-{kind}", f"{kind}.storage.replication.factor": 1}
        # A worker that is gone is given up soon; by default it is waited for, a minute and five more.
        settings |= {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000, "scheduled.rebalance.max.delay.ms": 1_000}
        workers = [self.worker(name, "Distributed", settings) for name in (f"{cluster}-a", f"{cluster}-b")]
        for worker in workers:
            worker.start()
        first = workers[0]
        for files in pairs:
            files.grow(each)
            for connector in files.connectors():
                body = {"name": connector["name"], "config": connector}
                # 409 while the workers share out what there is; then it is asked again.
                wait_for(lambda: f"no {body['name']}:\n{first.log()[-3000:]}", lambda: self.alive(workers) and first.ask("/connectors", body))
        self.wait_complete(workers, pairs)
        wait_for(lambda: f"tasks on both workers, not {self.places(first)}", lambda: len(set(self.places(first).values())) == 2)
        kind = "distributed, exactly once" if exactly_once else "distributed"
        say(f"{kind}: {sum(files.count for files in pairs)} lines by {len(self.places(first))} tasks on two workers")
        for files in pairs:
            files.grow(each)
        workers[1].kill()
        for files in pairs:
            files.grow(each)
        self.wait_complete(workers[:1], pairs)
        wait_for(lambda: f"all tasks on one worker, not {self.places(first)}", lambda: len(set(self.places(first).values())) == 1)
        first.end()
        twice = sum(count - 1 for files in pairs for count in files.arrived().values())
        if exactly_once:
            for files in pairs:
                files.check_once(self.broker.address)
        say(f"{kind}: one worker killed, {sum(files.count for files in pairs)} lines by the other; {twice} arrived twice")

    @staticmethod
    def alive(workers):
        for worker in workers:
            worker.check_alive()
        return True

    def places(self, worker):
        """{task: the worker that runs it}."""
        told = worker.ask("/connectors?expand=status") or {}
        return {
            f"{name}/{task['id']}": task["worker_id"] if task["state"] == "RUNNING" else task["state"]
            for name, one in told.items()
            for task in one["status"]["tasks"]
        }

    def all(self):
        self.standalone()
        self.distributed()
        if self.options.exactly_once:
            self.distributed(exactly_once=True)


def main():
    parser = scene.arguments("connect")
    parser.add_argument("--lines", type=int, default=30_000, help="lines of each file (default 30000)")
    parser.add_argument("--exactly-once", action="store_true", help="a second cluster, whose sources write in transactions")
    scene.play_on_one("connect", parser.parse_args(), ["group.initial.rebalance.delay.ms=200"], Run)


if __name__ == "__main__":
    main()
