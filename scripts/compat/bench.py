"""Yeoul and the real Apache Kafka under one and the same client: see scripts/bench.sh, which builds the clients and calls this."""

import argparse
import collections
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import brokers
from brokers import HOME, BrokerFailed

# The three sides: what an acknowledgement means there, and the topic settings that make it so.
CLASSES = {"D1": "in the page cache: outlives the process, not the machine", "D3": "written and synced: outlives a power cut"}
SIDES = {
    "yeoul": ("yeoul", "D3", []),
    "kafka": ("kafka", "D1", []),
    "kafka-sync": ("kafka", "D3", ["flush.messages=1"]),
}
PRODUCER = ["linger.ms=5", "batch.size=1048576", "batch.num.messages=10000", "queue.buffering.max.messages=1000000"]
COUNTS = {100: 5_000_000, 1024: 1_000_000, 10240: 150_000}
QUICK_COUNTS = {100: 500_000, 1024: 100_000, 10240: 15_000}
KAFKA_SETTINGS = ["log.segment.delete.delay.ms=1000", "num.partitions=1"]


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.sides = {name: SIDES[name] for name in options.sides.split(",")}
        self.client_cpus = ["taskset", "-c", "1"] if options.pin else []
        self.brokers = {}
        self.topics = 0
        self.results = []
        self.driver = str(options.driver)
        self.rdkafka = str(next(HOME.glob("librdkafka-*/rdkafka_performance")))

    # -- brokers --

    def make(self, kind, folder, heap=None):
        cpus = "0" if self.options.pin else None
        if kind == "kafka":
            return brokers.Kafka(folder, KAFKA_SETTINGS, cpus, heap)
        options = ["--shards", self.options.shards] if self.options.shards else []
        return brokers.Yeoul(folder, brokers.yeoul_binary(self.options.binary), self.options.set, cpus, options)

    def open(self):
        for kind in {kind for kind, _, _ in self.sides.values()}:
            broker = self.brokers[kind] = self.make(kind, self.work / kind, "2g")
            broker.start()
            print(f"{kind} at {broker.address}, pid {broker.pid}", flush=True)

    def close(self):
        for broker in self.brokers.values():
            broker.close()

    # -- one measurement --

    def drive(self, *words):
        done = subprocess.run([*self.client_cpus, self.driver, *map(str, words)], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise BrokerFailed(done.stderr.strip())
        return json.loads(done.stdout) if done.stdout else None

    def perform(self, *words):
        """rdkafka_performance; the line of its result."""
        command = [*self.client_cpus, self.rdkafka, *map(str, words), "-q"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        text = done.stdout + done.stderr
        lines = [line for line in text.splitlines() if re.match(r"% \d+ messages ", line)]
        if done.returncode != 0 or not lines:
            tail = [line for line in text.splitlines() if "CONFWARN" not in line][-5:]
            raise BrokerFailed(f"rdkafka_performance ended with {done.returncode}: {tail}")
        return lines[-1]

    def measured(self, broker, payload, act):
        """Runs `act` and adds CPU times of broker and client, and what the machine lost to its neighbours."""
        steal, broker_cpu = stolen(), broker.cpu_seconds()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = act()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        moved = payload(result) / 1e9
        result["broker_cpu_s_per_gb"] = (broker.cpu_seconds() - broker_cpu) / moved
        client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        result["client_cpu_s_per_gb"] = client / moved
        result["steal_s"] = stolen() - steal
        return result

    def topic(self, side, partitions):
        """A fresh topic: (broker, its name)."""
        kind, _, settings = self.sides[side]
        self.topics += 1
        name = f"bench-{self.topics}"
        self.drive("create", self.brokers[kind].address, name, partitions, *settings)
        return self.brokers[kind], name

    def done_with(self, broker, topic):
        self.drive("delete", broker.address, topic)
        if not self.options.quick:
            settle()

    def record(self, workload, side, round_number, result):
        line = {"workload": workload, "side": side, "class": self.sides[side][1], "round": round_number, "pinned": self.options.pin, **result}
        self.results.append(line)
        with open(self.options.out, "a") as file:
            file.write(json.dumps(line) + "\n")

    def sides_of(self, round_number, allowed=None):
        """The sides in another order each round, so that none always comes first."""
        names = [name for name in self.sides if allowed is None or name in allowed]
        turn = round_number % max(1, len(names))
        return names[turn:] + names[:turn]

    # -- workloads --

    def throughput(self, size, partitions, acks, count, round_number):
        for side in self.sides_of(round_number):
            broker, topic = self.topic(side, partitions)
            settings = [word for setting in PRODUCER for word in ("-X", setting)]

            def produce(broker=broker, topic=topic):
                line = self.perform("-P", "-t", topic, "-b", broker.address, "-s", size, "-c", count, "-a", acks, *settings)
                delivered, failed, ms = map(int, re.search(r"(\d+) delivered .* (\d+) failed\) in (\d+)ms", line).groups())
                if failed or delivered != count:
                    raise BrokerFailed(f"{delivered} of {count} messages delivered, {failed} failed")
                return {"records_per_s": count / ms * 1e3, "mb_per_s": count * size / ms / 1e3}

            def consume(broker=broker, topic=topic):
                chosen = [word for partition in range(partitions) for word in ("-p", partition)]
                line = self.perform("-C", "-t", topic, *chosen, "-o", "beginning", "-c", count, "-b", broker.address)
                got, ms = map(int, re.search(r"% (\d+) messages .* consumed in (\d+)ms", line).groups())
                if got < count:
                    raise BrokerFailed(f"{got} of {count} messages consumed")
                return {"records_per_s": got / ms * 1e3, "mb_per_s": got * size / ms / 1e3}

            total = count * size
            name = f"{size_name(size)}, {partitions} partition{'s' if partitions > 1 else ''}"
            acks_name = "all" if acks == -1 else acks
            self.record(f"produce {name}, acks {acks_name}", side, round_number, self.measured(broker, lambda _: total, produce))
            if side != "kafka-sync" and acks == 1:
                self.record(f"consume {name}", side, round_number, self.measured(broker, lambda _: total, consume))
            self.done_with(broker, topic)

    def window(self, in_flight, partitions, round_number):
        seconds = 2 if self.options.quick else 5
        for side in self.sides_of(round_number):
            broker, topic = self.topic(side, partitions)
            act = lambda: self.drive("window", broker.address, topic, partitions, 16384, in_flight, seconds / 2, seconds)  # noqa: E731
            # The warm-up costs CPU too and moves bytes at the same rate.
            result = self.measured(broker, lambda r: r["mb_per_s"] * 1e6 * seconds * 1.5, act)
            self.record(f"16 KiB batches, {in_flight} in flight, acks all", side, round_number, result)
            self.done_with(broker, topic)

    def latency(self, rate, round_number):
        seconds = 3 if self.options.quick else 15
        for side in self.sides_of(round_number):
            broker, topic = self.topic(side, 1)
            result = self.drive("latency", broker.address, topic, 1024, rate, seconds / 2, seconds)
            flat = {f"{name}_{key}": value for name, part in result.items() for key, value in part.items()}
            self.record(f"end to end, 1 KiB, {rate:,} records/s, acks all", side, round_number, flat)
            self.done_with(broker, topic)

    def idle(self, round_number):
        """A start on an empty directory, and the memory held a few seconds later."""
        for side in self.sides_of(round_number, {"yeoul", "kafka"}):
            folder = self.work / f"idle-{side}-{round_number}"
            broker = self.make(self.sides[side][0], folder)
            try:
                broker.start()
                time.sleep(2)
                cpu = broker.cpu_seconds()
                time.sleep(2)
                result = {"ready_ms": broker.ready_ms, "rss_mib": broker.memory() / 2**20, "idle_cpu_share": (broker.cpu_seconds() - cpu) / 2}
                self.record("idle", side, round_number, result)
            finally:
                broker.close()
            shutil.rmtree(folder)

    def run(self):
        options = self.options
        counts = QUICK_COUNTS if options.quick else COUNTS
        plan = []
        for size, count in counts.items():
            if options.quick and size != 1024:
                continue
            for partitions in (1, 16):
                for acks in (1, -1):
                    name = f"produce consume {size_name(size)} {partitions} partitions acks {acks}"
                    plan.append((name, lambda r, s=size, p=partitions, a=acks, c=count: self.throughput(s, p, a, c, r)))
        plan.append(("window 1", lambda r: self.window(1, 1, r)))
        plan.append(("window 32", lambda r: self.window(32, 4, r)))
        plan.append(("latency", lambda r: self.latency(1000, r)))
        plan.append(("idle", self.idle))
        names = [name for name, _ in plan]
        plan = [(name, act) for name, act in plan if re.search(options.only, name)]
        if not plan:
            raise BrokerFailed(f"--only {options.only!r} matches none of: {', '.join(names)}")
        self.open()
        if not options.quick:
            self.warm()
        for round_number in range(options.rounds):
            for name, act in plan:
                print(f"round {round_number + 1} of {options.rounds}: {name}", flush=True)
                act(round_number)

    def warm(self):
        """The first bytes that go through a broker are slow (page faults, compilation): they are not measured."""
        kept, self.results = self.results, []
        out, self.options.out = self.options.out, os.devnull
        self.throughput(1024, 16, 1, COUNTS[1024], 0)
        self.throughput(100, 1, 1, COUNTS[100] // 2, 0)
        self.results, self.options.out = kept, out


def size_name(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def stolen():
    """Seconds that the host gave to others."""
    return int(pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / brokers.TICKS


def settle():
    """Waits until what others left in the page cache is written, and then until the machine is quiet, at most 10 s."""
    os.sync()

    def busy():
        words = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return sum(words) - words[3] - words[4], sum(words)

    for _ in range(20):
        before = busy()
        time.sleep(0.5)
        after = busy()
        if after[0] - before[0] < 0.2 * (after[1] - before[1]):
            return


# What the table shows of a workload: (result, how to print it, is more better?).
SHOWN = {
    "produce 100": ("records_per_s", lambda v: f"{v / 1e6:.2f} M/s", True),
    "consume 100": ("records_per_s", lambda v: f"{v / 1e6:.2f} M/s", True),
    "produce": ("mb_per_s", lambda v: f"{v:.0f} MB/s", True),
    "consume": ("mb_per_s", lambda v: f"{v:.0f} MB/s", True),
    "16 KiB": ("requests_per_s", lambda v: f"{v:,.0f}/s", True),
}


def rows_of(workload):
    if workload == "idle":
        return [
            ("start on an empty directory", "ready_ms", lambda v: f"{v:,.0f} ms", False),
            ("memory held when idle", "rss_mib", lambda v: f"{v:.0f} MiB", False),
            ("CPU used when idle", "idle_cpu_share", lambda v: f"{v * 100:.1f} %", False),
        ]
    if workload.startswith("end to end"):
        return [(f"{workload}: {p}", f"end_to_end_{p}_ms", lambda v: f"{v:.2f} ms", False) for p in ("p50", "p99", "p999", "max")]
    for start, (key, form, more) in SHOWN.items():
        if workload.startswith(start):
            rows = [(workload, key, form, more), ("  broker CPU", "broker_cpu_s_per_gb", lambda v: f"{v:.2f} s/GB", False)]
            if workload.startswith("16 KiB"):
                rows.insert(1, ("  p99", "p99_ms", lambda v: f"{v:.2f} ms", False))
            return rows
    raise ValueError(workload)


def table(results):
    """Median (least-most) of each side, and how many times better Yeoul is."""
    by_workload = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in results:
        by_workload[line["workload"]][line["side"]].append(line)
    sides = [side for side in SIDES if any(side in found for found in by_workload.values())]
    head = ["workload"]
    for side in sides:
        head.append(f"{side} ({SIDES[side][1]})")
        if side != "yeoul" and "yeoul" in sides:
            head.append("yeoul is")
    lines = [head]
    for workload, found in by_workload.items():
        for title, key, form, more in rows_of(workload):
            line = [title]
            middle = {side: statistics.median(run[key] for run in runs) for side, runs in found.items()}
            for side in sides:
                runs = sorted(run[key] for run in found.get(side, ()))
                line.append("" if not runs else form(middle[side]) + (f" ({form(runs[0])} - {form(runs[-1])})" if len(runs) > 1 else ""))
                if side != "yeoul" and "yeoul" in sides:
                    line.append("" if side not in middle or "yeoul" not in middle else times(middle["yeoul"], middle[side], more))
            lines.append(line)
    return lines


def times(ours, theirs, more):
    if ours <= 0 or theirs <= 0:
        return ""
    return f"{ours / theirs if more else theirs / ours:.2f}x"


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return f"{os.cpu_count()} cpus ({model.group(1) if model else '?'}), {int(total.group(1)) // 2**20} GiB, Linux {os.uname().release}"


def main():
    parser = argparse.ArgumentParser(prog="bench.sh peers")
    parser.add_argument("--quick", action="store_true", help="one short round of a few workloads")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 3)")
    parser.add_argument("--pin", action="store_true", help="broker on cpu 0, client on cpu 1")
    parser.add_argument("--only", default="", help="a regular expression: only workloads whose name it matches")
    parser.add_argument("--sides", default="yeoul,kafka,kafka-sync", help="which, separated by commas")
    parser.add_argument("--set", action="append", default=[], help="a setting for Yeoul, k=v")
    parser.add_argument("--shards", help="passed on to 'yeoul start'")
    parser.add_argument("--binary", help="the yeoul to run (default: target/release/yeoul)")
    parser.add_argument("--dir", help="where the brokers keep their data (default: target/bench)")
    parser.add_argument("--out", help="JSON lines, one a measurement (default: target/bench/peers.jsonl, appended to)")
    parser.add_argument("--driver", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    base = pathlib.Path(options.dir or brokers.target_folder() / "bench")
    base.mkdir(parents=True, exist_ok=True)
    options.out = options.out or base / "peers.jsonl"
    work = pathlib.Path(tempfile.mkdtemp(prefix="peers-", dir=base))
    bench = None
    failure = None
    try:
        bench = Bench(options, work)
        bench.run()
    except (BrokerFailed, subprocess.SubprocessError, StopIteration) as error:
        failure = error
    finally:
        if bench:
            bench.close()
        shutil.rmtree(work, ignore_errors=True)
    if bench and bench.results:
        lines = table(bench.results)
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        print()
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())
        pinned = "broker on cpu 0, client on cpu 1" if options.pin else "nothing pinned"
        print(f"\n{machine()}; {pinned}; median of {options.rounds} (least - most), sides alternating")
        for name, meaning in CLASSES.items():
            print(f"{name}: {meaning}")
        if options.quick:
            print("--quick: short runs on a cold Kafka; they show that everything works, not how fast it is.")
        print("One client build for all sides: librdkafka 2.12.1 (throughput), driver.rs (16 KiB, end to end); no compression.")
        print(f"Kafka 4.3.1, heap 2 GiB touched beforehand (idle: its own 1 GiB), as it comes but for {', '.join(KAFKA_SETTINGS)}. Every run: {options.out}")
    if failure:
        sys.exit(f"bench: FAILED: {failure}")


if __name__ == "__main__":
    main()
