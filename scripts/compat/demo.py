"""The main job, on real input: see scripts/demo.sh, which installs what this needs and calls it."""

import argparse
import collections
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import brokers
from brokers import HERE, HOME, ROOT, BrokerFailed
from scene import Failed, say

BASE_MS = 1_700_000_000_000
TOPIC = "flights"
PARTITIONS = 6
CLIENTS = ROOT / "tests/compat"
DEADLINE_S = 420  # for each phase

# What a record says, as a consumer of any client saw it.
Seen = collections.namedtuple("Seen", "partition offset timestamp headers key value")


def commands():
    """{client: (command line up to the verb, needs)} of our programs; `needs` is a name known to clients.sh."""
    python = [str(HOME / "python/bin/python"), str(CLIENTS / "python/client.py")]

    def java(release):
        log = f"-Dlog4j2.configurationFile={CLIENTS}/java/log4j2.properties"
        if release == "3.9":
            log = f"-Dlog4j.configuration=file:{CLIENTS}/java/log4j.properties"
        path = f"{HOME}/classes-{release}:{HOME}/kafka-{release}/*"
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", log, "-cp", path, "Client"]

    return {
        "confluent": ([*python, "confluent"], "python"),
        "kafka-python": ([*python, "kafka-python"], "python"),
        "aiokafka": ([*python, "aiokafka"], "python"),
        "kafkajs": (["env", f"NODE_PATH={HOME}/node/node_modules", "node", "--no-warnings", str(CLIENTS / "node/client.js")], "node"),
        "franz-go": ([str(HOME / "go/franz")], "go"),
        "java-4.3": (java("4.3"), "java43"),
        "java-3.9": (java("3.9"), "java39"),
    }


PRODUCERS = ["kcat", "confluent", "kafka-python", "kafkajs", "franz-go", "java-4.3", "java-3.9"]
CONSUMERS = ["kcat", "confluent", "kafka-python", "aiokafka", "franz-go", "java-4.3", "java-3.9"]
QUICK_CONSUMERS = ["kcat", "confluent", "kafka-python", "franz-go", "java-4.3"]


def skipped():
    """{name known to clients.sh: why it is not there}"""
    listed = subprocess.run([HERE / "clients.sh", "list"], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^(\S+) skipped: (.*)$", listed, re.M))


class Part:
    """One producer with its slice of the input."""

    def __init__(self, name, first, end, work):
        self.name, self.first, self.end = name, first, end
        self.log = work / f"{name}.acks"
        self.errors = work / f"{name}.errors"
        self.log.touch()
        self.again = set()  # chunks that were sent a second time: at least once

    def progress(self):
        with open(self.log, "rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))

    def exactly_once(self, number):
        return not any(first <= number < end for first, end in self.again)


class Program(Part):
    """One of the programs in tests/compat."""

    def start(self, bootstrap, data, rate, stop):
        command, _ = commands()[self.name]
        words = ["produce", bootstrap, TOPIC, data, self.first, self.end, self.name, rate, self.log]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([*command, *map(str, words)], stdout=errors, stderr=errors)

    def ended(self):
        return self.process.poll() is not None

    def check(self):
        if self.process.returncode != 0:
            raise Failed(f"{self.name} ended with {self.process.returncode}: {tail(self.errors)}")

    def close(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()


class Kcat(Part):
    """kcat, a process a chunk: it tells of no single record, only, by its exit code, of all it was given."""

    chunk = 1000

    def start(self, bootstrap, data, rate, stop):
        self.bootstrap, self.rate, self.stop, self.failure, self.child = bootstrap, rate, stop, None, None
        self.clock = {}  # chunk: (ms before, ms after)
        with open(data, "rb") as file:
            self.lines = [line for number, line in enumerate(file) if self.first <= number < self.end]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        began = time.monotonic()
        piece = self.log.with_suffix(".piece")
        try:
            for at in range(0, len(self.lines), self.chunk):
                lines = self.lines[at : at + self.chunk]
                piece.write_bytes(b"".join(lines))
                self.send(piece, self.first + at, self.first + at + len(lines))
                with open(self.log, "a") as log:
                    log.writelines(f"{self.first + at + n} -1 -1\n" for n in range(len(lines)))
                time.sleep(max(0.0, (at + len(lines)) / self.rate - (time.monotonic() - began)))
        except Exception as failure:
            self.failure = failure

    def send(self, piece, first, end):
        command = ["kcat", "-P", "-b", self.bootstrap, "-t", TOPIC, "-K", r"\t", "-l", piece, "-H", "producer=kcat"]
        command += ["-H", f"chunk={first}", "-X", "enable.idempotence=true", "-X", "acks=all"]
        command += ["-X", "message.timeout.ms=300000", "-X", "reconnect.backoff.max.ms=500"]
        before = time.time_ns() // 1_000_000
        while not self.stop.is_set():
            with open(self.errors, "ab") as errors:
                self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
                code = self.child.wait()
            if code == 0:
                self.clock[first] = (before, time.time_ns() // 1_000_000)
                return
            # It gave up (no broker to be seen): what it had sent may be there or not, so this chunk is at-least-once.
            self.again.add((first, end))
            time.sleep(0.1)
        raise Failed("kcat was stopped")

    def ended(self):
        return not self.thread.is_alive()

    def check(self):
        if self.failure:
            raise Failed(f"kcat: {self.failure}")

    def close(self):
        self.stop.set()
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
        self.thread.join()


def tail(path):
    return " | ".join(path.read_text(errors="replace").strip().splitlines()[-4:])


def produce(broker, parts, data, seconds, kills, rng):
    """All producers at once; the broker is killed and started again `kills` times while they run."""
    total = sum(part.end - part.first for part in parts)
    marks = [total * (at + rng.uniform(0.3, 0.7)) / kills for at in range(kills)]
    stop = threading.Event()
    began = time.monotonic()
    for part in parts:
        part.start(broker.address, data, (part.end - part.first) / seconds, stop)
    try:
        while not all(part.ended() for part in parts):
            if time.monotonic() - began > DEADLINE_S:
                late = [f"{part.name} {part.progress()}/{part.end - part.first}" for part in parts if not part.ended()]
                raise Failed(f"not done after {DEADLINE_S} s: {', '.join(late)}")
            for part in parts:
                if part.ended():
                    part.check()
            done = sum(part.progress() for part in parts)
            if marks and done >= marks[0]:
                marks.pop(0)
                busy = [part.name for part in parts if not part.ended()]
                broker.kill()
                broker.start()
                say(f"  SIGKILL after {done} acknowledged records, while {', '.join(busy)} sent; back after {broker.ready_ms:.0f} ms")
            time.sleep(0.02)
    finally:
        for part in parts:
            part.close()
    for part in parts:
        part.check()
    if marks:
        raise Failed("the producers were done before the last kill")
    say(f"  {total} records acknowledged to {len(parts)} clients in {time.monotonic() - began:.1f} s")


def consume(client, broker, work):
    """Everything, read by one client: {(partition, offset): Seen}"""
    out = work / f"{client}.out"
    errors = work / f"{client}.out.errors"
    with open(errors, "wb") as told:
        if client == "kcat":
            # %h and %T as in the other clients' lines.
            form = r"%p\t%o\t%T\t%h\t%k\t%s\n"
            command = ["kcat", "-C", "-e", "-q", "-b", broker.address, "-t", TOPIC, "-o", "beginning", "-X", "check.crcs=true", "-f", form]
            with open(out, "wb") as file:
                code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=told, timeout=DEADLINE_S).returncode
        elif client == "yeoul":
            with open(out, "wb") as file:
                code = subprocess.run(yeoul_consume(broker), stdin=subprocess.DEVNULL, stdout=file, stderr=told, timeout=DEADLINE_S).returncode
        else:
            command = [*commands()[client][0], "consume", broker.address, TOPIC, out]
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, timeout=DEADLINE_S).returncode
    if code != 0:
        raise Failed(f"{client} could not read everything (exit code {code}): {tail(errors)}")
    seen = {}
    with open(out, encoding="utf-8") as file:
        for line in file:
            fields = line.rstrip("\n").split("\t", 5)
            record = Seen(int(fields[0]), int(fields[1]), int(fields[2]), *fields[3:])
            if (record.partition, record.offset) in seen:
                raise Failed(f"{client} read partition {record.partition} offset {record.offset} twice")
            seen[record.partition, record.offset] = record
    out.unlink()
    return seen


def yeoul_consume(broker):
    form = r"%p\t%o\t%T\t%h\t%k\t%v\n"
    return [broker.binary, "consume", TOPIC, "-b", broker.address, "-o", "start", "--until", "end", "-f", form]


def same(first_client, first, client, other):
    if first == other:
        return
    missing, extra = first.keys() - other.keys(), other.keys() - first.keys()
    differ = [at for at in first.keys() & other.keys() if first[at] != other[at]]
    example = "" if not differ else f"; for instance {first[differ[0]]} against {other[differ[0]]}"
    raise Failed(
        f"{client} read other records than {first_client}: {len(missing)} missing, {len(extra)} more, {len(differ)} different{example}"
    )


def check(parts, seen, lines):
    """Each acknowledged record is there, once where that was promised, intact and in order."""
    by_number = collections.defaultdict(list)  # line: the records that carry it, by partition and offset
    number_of = {line: number for number, line in enumerate(lines)}
    for at in sorted(seen):
        record = seen[at]
        number = number_of.get(f"{record.key}\t{record.value}")
        if number is None:
            raise Failed(f"nobody sent this: {record}")
        by_number[number].append(record)
    duplicates = 0
    for part in parts:
        last = collections.defaultdict(lambda: -1)
        first_of = {}
        for number in range(part.first, part.end):
            records = by_number.pop(number, [])
            if not records:
                raise Failed(f"{part.name}: acknowledged record {number} is missing")
            if len(records) > 1:
                duplicates += len(records) - 1
                if part.exactly_once(number):
                    raise Failed(f"{part.name}: record {number} is there {len(records)} times: {records}")
            for record in records:
                intact(part, number, record)
            first_of[number] = records[0]
        acknowledged(part, first_of, by_number)
        # The order: walking the partition by offset, the numbers of each producer rise.
        for number in range(part.first, part.end):
            record = first_of[number]
            if record.offset <= last[record.partition]:
                raise Failed(f"{part.name}: record {number} lies before an earlier one, at {record.partition}/{record.offset}")
            last[record.partition] = record.offset
    if by_number:
        raise Failed(f"{len(by_number)} records are there that no part had")
    return duplicates


def intact(part, number, record):
    """Headers and timestamp; key and value are what the record was found by."""
    if isinstance(part, Kcat):
        chunk = part.first + (number - part.first) // part.chunk * part.chunk
        before, after = part.clock[chunk]
        good = record.headers == f"producer=kcat,chunk={chunk}" and before <= record.timestamp <= after
    else:
        good = record.headers == f"producer={part.name},seq={number}" and record.timestamp == BASE_MS + number
    if not good:
        raise Failed(f"{part.name}: record {number} has changed: {record}")


def acknowledged(part, first_of, by_number):
    """Each record lies where its acknowledgement said."""
    told = 0
    with open(part.log) as log:
        for line in log:
            number, partition, offset = map(int, line.split())
            told += 1
            record = first_of[number]
            if partition != -1 and (record.partition, record.offset) != (partition, offset):
                raise Failed(
                    f"{part.name}: record {number} was acknowledged at {partition}/{offset} but lies at {record.partition}/{record.offset}"
                )
    if told != part.end - part.first:
        raise Failed(f"{part.name}: {told} acknowledgements for {part.end - part.first} records")


def dump(broker, seen):
    """The real Kafka's kafka-dump-log reads the segment files: the same records, partition by partition."""
    counts = collections.Counter(partition for partition, _ in seen)
    for partition, files in sorted(broker.segments(TOPIC).items()):
        done = subprocess.run(
            [HERE / "kafka.sh", "tool", "kafka-dump-log", "--print-data-log", "--files", ",".join(map(str, files))],
            capture_output=True, text=True, timeout=DEADLINE_S,
        )
        found = re.findall(r"^\| offset: (\d+) .*?keySize: \d+ .*?key: (\S+) payload: (.*)$", done.stdout, re.M)
        wrong = re.search(r"isvalid: false|Found \d+ invalid|Could not|Mismatch|[Ee]xception", done.stdout + done.stderr)
        if done.returncode != 0 or wrong:
            raise Failed(f"kafka-dump-log on {files}: {wrong and wrong.group()} {done.stderr[-500:]}")
        if len(found) != counts[partition]:
            raise Failed(f"kafka-dump-log finds {len(found)} records in partition {partition}, clients {counts[partition]}")
        for offset, key, value in found:
            record = seen[partition, int(offset)]
            if (record.key, record.value) != (key, value):
                raise Failed(f"kafka-dump-log shows another record at {partition}/{offset}: {key} {value}")
    say(f"  kafka-dump-log reads the same {sum(counts.values())} records from the segment files")


def run(options, work):
    rng = random.Random(options.seed)
    data = subprocess.run([HERE / "data.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    lines = pathlib.Path(data).read_text(encoding="utf-8").splitlines()
    lines = lines[: 30_000 if options.quick else len(lines)]
    missing = skipped()
    needs = {"kcat": "kcat", **{name: needed for name, (_, needed) in commands().items()}}
    for name, why in missing.items():
        if name != "librdkafka":
            say(f"skipped: {', '.join(n for n in needs if needs[n] == name)}: {why}")
    producers = [name for name in PRODUCERS if needs[name] not in missing]
    consumers = [name for name in (QUICK_CONSUMERS if options.quick else CONSUMERS) if needs[name] not in missing]
    if "confluent" not in producers:
        raise Failed("the demo creates its topic with confluent-kafka, which is not there")
    parts = []
    for index, name in enumerate(producers):
        first, end = (len(lines) * n // len(producers) for n in (index, index + 1))
        parts.append((Kcat if name == "kcat" else Program)(name, first, end, work))
    broker = make(options, work / "broker")
    try:
        broker.start()
        say(f"{broker.name} at {broker.address}, ready after {broker.ready_ms:.0f} ms; {len(lines)} flights, seed {options.seed}")
        create = [*commands()["confluent"][0], "create", broker.address, TOPIC, str(PARTITIONS), "retention.ms=-1"]
        subprocess.run(create, check=True, timeout=60)
        produce(broker, parts, data, 8 if options.quick else 30, 2, rng)
        began = time.monotonic()
        broker.stop()
        stopped = time.monotonic() - began
        broker.start()
        say(f"  SIGTERM: ended after {stopped * 1000:.0f} ms, back after {broker.ready_ms:.0f} ms")
        first = consume(consumers[0], broker, work)
        duplicates = check(parts, first, lines)
        once = ", ".join(part.name for part in parts if not part.again)
        twice = [f"{part.name} (but {len(part.again)} chunks that it had to be given again)" for part in parts if part.again]
        say(f"  exactly once, intact and in order: {', '.join(filter(None, [once, *twice]))}; {duplicates} duplicates in all")
        for client in [*consumers[1:], *(["yeoul"] if broker.name == "yeoul" else [])]:
            began = time.monotonic()
            same(consumers[0], first, client, consume(client, broker, work))
            say(f"  {client} reads the same {len(first)} records in {time.monotonic() - began:.1f} s")
        broker.stop()
        if "java43" in missing:
            say(f"skipped: kafka-dump-log: {missing['java43']}")
        else:
            dump(broker, first)
    finally:
        broker.close()


def make(options, folder):
    if options.broker == "kafka":
        return brokers.Kafka(folder)
    return brokers.Yeoul(folder, brokers.yeoul_binary(options.binary), options=["--shards", options.shards] if options.shards else [])


def main():
    parser = argparse.ArgumentParser(prog="demo.sh")
    parser.add_argument("--quick", action="store_true", help="30,000 records and fewer readers, for CI")
    parser.add_argument("--broker", choices=["yeoul", "kafka"], default="yeoul", help="kafka: the same demo on the real one")
    parser.add_argument("--binary", help="the yeoul to run (default: target/release/yeoul)")
    parser.add_argument("--shards", help="passed on to 'yeoul start'")
    parser.add_argument("--seed", type=int, default=1, help="when the broker is killed")
    parser.add_argument("--keep", action="store_true", help="leave the work folder there")
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="yeoul-demo-"))
    began = time.monotonic()
    good = False
    try:
        run(options, work)
        good = True
        say(f"demo: passed in {time.monotonic() - began:.0f} s")
    except (Failed, BrokerFailed, subprocess.SubprocessError) as failure:
        say(f"demo: FAILED: {failure}")
    finally:
        if options.keep or not good:
            say(f"its files: {work}")
        else:
            shutil.rmtree(work)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
