"""Coordinators of Yeoul and of the real Apache Kafka under one and the same client: see scripts/bench.sh, which calls this."""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import bench
import brokers
from brokers import HOME, BrokerFailed

LOAD = brokers.ROOT / "tests/compat/python/group_load.py"
SIDES = ("yeoul", "kafka")
# (result, how to print it, is more better?) of each kind of work.
SHOWN = {
    "commits": [("commits_per_s", "{:,.0f}/s", True), ("p99_ms", "p99 {:.2f} ms", False), ("broker_cpu_ms", "{:.3f} ms of CPU each", False)],
    "rebalance": [("all_join_s", "{:.2f} s: all join", False), ("one_leaves_s", "{:.2f} s: one leaves", False), ("one_joins_s", "{:.2f} s: one joins", False)],
    "transactions": [("records_per_s", "{:,.0f} records/s", True), ("transactions_per_s", "{:.1f}/s", True), ("commit_p99_ms", "commit p99 {:.1f} ms", False)],
    "positions": [("positions_per_s", "{:,.0f} positions/s committed", True), ("start_s", "{:.2f} s: start", False), ("told_s", "{:.2f} s: a hundred groups answer", False), ("wrong", "{} of them wrongly", False)],
}


class Groups:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.results = {}  # {workload: {side: [result]}}
        self.brokers = {}
        self.topics = 0

    def make(self, side):
        if side == "kafka":
            return brokers.Kafka(self.work / side, ["num.partitions=1"], heap="2g")
        return brokers.Yeoul(self.work / side, brokers.yeoul_binary(self.options.binary), ["group.initial.rebalance.delay.ms=0"])

    def load(self, work, side, *words):
        """One run of group_load.py against a broker."""
        command = [HOME / "python/bin/python", LOAD, work, self.brokers[side].address, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise BrokerFailed(f"{side}: {work} {words}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)

    def topic(self, side, partitions):
        self.topics += 1
        name = f"bench-{self.topics}"
        self.load("create", side, name, partitions)
        return name

    def record(self, name, side, result):
        self.results.setdefault(name, {}).setdefault(side, []).append(result)
        print(f"  {side}: {json.dumps(result)}", flush=True)

    def commits(self, side, name, members):
        topic = self.topic(side, 50)
        before = self.brokers[side].cpu_seconds()
        seconds = 2 if self.options.quick else 10
        result = self.load("commits", side, topic, members, seconds)
        result["broker_cpu_ms"] = (self.brokers[side].cpu_seconds() - before) * 1e3 / (result["commits_per_s"] * seconds)
        self.record(name, side, result)

    def rebalance(self, side, name, kind):
        members, partitions = (5, 50) if self.options.quick else (50, 500)
        self.record(name, side, self.load("rebalance", side, self.topic(side, partitions), members, kind))

    def transactions(self, side, name, every_ms):
        seconds = 2 if self.options.quick else 8
        self.record(name, side, self.load("transactions", side, self.topic(side, 1), every_ms, seconds))

    def positions(self, side, name):
        """Positions of many groups, then a start that has to load them."""
        partitions, groups = (100, 20) if self.options.quick else (1000, 1000)
        topic, broker = self.topic(side, partitions), self.brokers[side]
        result = self.load("positions", side, topic, partitions, groups)
        broker.stop()
        began = time.monotonic()
        broker.start()
        result["start_s"] = time.monotonic() - began
        result |= self.load("committed", side, topic, groups)
        if side == "yeoul" and result["wrong"]:
            raise BrokerFailed(f"{result['wrong']} groups have lost their positions")
        self.record(name, side, result)

    def plan(self):
        plan = [(f"commits, {members} member{'s' if members > 1 else ''}", self.commits, members) for members in (1, 50)]
        plan += [(f"rebalance, {kind}", self.rebalance, kind) for kind in ("classic", "cooperative", "consumer")]
        plan += [("transactions: none", self.transactions, 0)]
        plan += [(f"transactions, a commit every {ms} ms", self.transactions, ms) for ms in (10, 100, 1000)]
        plan += [("positions", self.positions)]
        return [item for item in plan if re.search(self.options.only, item[0])]

    def run(self):
        for side in self.options.sides.split(","):
            self.brokers[side] = self.make(side)
            self.brokers[side].start()
        for number in range(self.options.rounds):
            for name, work, *words in self.plan():
                print(f"round {number + 1} of {self.options.rounds}: {name}", flush=True)
                sides = list(self.brokers)
                for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
                    bench.settle()
                    work(side, name, *words)

    def close(self):
        for broker in self.brokers.values():
            broker.close()


def table(results):
    lines = [["workload", *SIDES, "yeoul is"]]
    for name, found in results.items():
        for key, form, more in SHOWN[re.split(r"[,:]", name)[0]]:
            middle = {side: bench.statistics.median(run[key] for run in runs) for side, runs in found.items() if all(key in run for run in runs)}
            if middle and any(middle.values()):
                both = bench.times(middle["yeoul"], middle["kafka"], more) if len(middle) == 2 else ""
                lines.append([name, *(form.format(middle[side]) if side in middle else "" for side in SIDES), both])
                name = ""
    return lines


def main():
    parser = argparse.ArgumentParser(prog="bench.sh groups")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that everything works, not how fast it is")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 1)", default=1)
    parser.add_argument("--only", default="", help="a regular expression: only workloads whose name it matches")
    parser.add_argument("--sides", default=",".join(SIDES), help="which, separated by commas")
    parser.add_argument("--binary", help="the yeoul to run (default: target/release/yeoul)")
    parser.add_argument("--dir", help="where the brokers keep their data (default: target/bench)")
    options = parser.parse_args()
    base = pathlib.Path(options.dir or brokers.target_folder() / "bench")
    base.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="groups-", dir=base))
    groups, failure = Groups(options, work), None
    try:
        groups.run()
    except (BrokerFailed, subprocess.SubprocessError) as error:
        failure = error
    finally:
        groups.close()
        shutil.rmtree(work, ignore_errors=True)
    lines = table(groups.results)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    print()
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())
    print(f"\n{bench.machine()}; nothing pinned; median of {options.rounds}, sides alternating; client: confluent-kafka, in one process")
    print("Yeoul: each commit written and synced (D3). Kafka 4.3.1 as it comes (D1), heap 2 GiB.")
    if failure:
        sys.exit(f"bench: FAILED: {failure}")


if __name__ == "__main__":
    main()
