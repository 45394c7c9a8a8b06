"""Kafka's tools for groups, offsets and transactions, on Yeoul and on the real Kafka in one run: they say the same of both.

What has to differ is masked: times, ids that the broker gives out, ports. Everything else that one tool prints, in its order, is
compared line by line.
"""

import concurrent.futures
import difflib
import re
import subprocess

import brokers
import scene
from brokers import HERE
from kafka_tools import KafkaTools
from scene import Failed, say, wait_for

RECORDS = 300
MASKS = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[A-Za-z0-9_-]{22}\b", "ID"),  # base64: a member's id under the consumer protocol, a topic's
    (r"127\.0\.0\.1:\d+", "BROKER"),
    (r"\b1[6-9]\d{11}\b", "TIME"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}", "TIME"),
]
COLUMNS = {"ProducerId", "TransactionDurationMs"}  # masked where a table has them


def masked(told):
    """The lines of what a tool prints, but for what has to differ."""
    for pattern, mask in MASKS:
        told = re.sub(pattern, mask, told)
    lines, places = [], []
    for line in told.splitlines():
        words = line.split()  # widths of columns follow from what is masked in them
        if not words or re.match(r"\s*(at |\.\.\. \d+ more)", line):
            continue  # where a failure came from is the tool's own affair
        if COLUMNS & set(words):
            places = [at for at, word in enumerate(words) if word in COLUMNS]
        else:
            words = ["MASKED" if at in places else word for at, word in enumerate(words)]
        lines.append(" ".join(words))
    return lines


class Side:
    """A broker, and what the tools said of it."""

    def __init__(self, name, broker, folder):
        self.name, self.broker, self.folder = name, broker, folder
        self.tools = KafkaTools(folder, name)
        self.members = []

    def start(self):
        self.broker.start()
        self.tools.address = self.broker.address

    def tool(self, tool, *words, given=""):
        """What a tool prints, masked."""
        return masked(self.tools.run(tool, *words, given=given))

    def join(self, group, protocol):
        """A console consumer that stays in a group."""
        command = [
            HERE / "kafka.sh", "tool", "kafka-console-consumer", "--bootstrap-server", self.broker.address, "--topic", "one", "--group", group,
            "--command-property", f"group.protocol={protocol}", "--command-property", f"client.id={group}-client",
        ]
        errors = open(self.folder / f"{self.name}-{group}.errors", "wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        errors.close()
        self.members.append(process)
        stable = lambda: any(re.search(r"\bStable\b", line) for line in self.tool("kafka-consumer-groups", "--describe", "--state", "--group", group))
        wait_for(lambda: f"{self.name}: {group} is stable", stable)

    def end_members(self):
        for process in self.members:
            process.terminate()
        for process in self.members:
            process.wait(30)
        self.members.clear()

    def close(self):
        for process in self.members:
            process.kill()
            process.wait()
        self.tools.close()
        self.broker.close()


class Compared:
    def __init__(self, sides):
        self.sides = sides
        self.calls = self.lines = 0
        self.pool = concurrent.futures.ThreadPoolExecutor(len(sides))
        self.differences = []

    def both(self, act):
        return list(self.pool.map(act, self.sides))

    def same(self, tool, *words, given=""):
        yeoul, kafka = self.both(lambda side: side.tool(tool, *words, given=given))
        self.calls += 1
        self.lines += len(kafka)
        call = f"{tool} {' '.join(words)}"
        if yeoul != kafka:
            lines = difflib.unified_diff(kafka, yeoul, "kafka", "yeoul", lineterm="", n=1)
            self.differences.append("\n".join([call, *lines]))
        print(f"  {'DIFFERS' if yeoul != kafka else 'same   '} {call}", flush=True)


def data(compared):
    compared.same("kafka-topics", "--create", "--topic", "one", "--partitions", "1")
    compared.same("kafka-topics", "--create", "--topic", "two", "--partitions", "2")
    lines = "".join(f"record-{number}\n" for number in range(RECORDS))
    compared.same("kafka-console-producer", "--topic", "one", given=lines)
    # One transaction: it lasts longer than the run.
    perf = ("--num-records", "20", "--record-size", "10", "--throughput", "-1", "--transaction-duration-ms", "60000")
    compared.both(lambda side: side.tool("kafka-producer-perf-test", "--topic", "one", "--transactional-id", "perf", *perf))


def offsets(compared):
    for time in ("latest", "earliest", "max-timestamp", "-1", "-2", "0", "nonsense"):
        compared.same("kafka-get-offsets", "--topic", "one", "--time", time)
    compared.same("kafka-get-offsets")
    compared.same("kafka-get-offsets", "--topic-partitions", "two:1,one:0")
    compared.same("kafka-get-offsets", "--topic", "absent")
    compared.same("kafka-get-offsets", "--topic", "one", "--exclude-internal-topics")


def groups(compared):
    tool = "kafka-consumer-groups"
    of_g = ("--group", "g", "--topic", "one")
    compared.same(tool, "--list")
    for group, protocol in (("g", "classic"), ("h", "consumer")):
        words = ("--group", group, "--from-beginning", "--max-messages", str(RECORDS), "--command-property", f"group.protocol={protocol}")
        compared.same("kafka-console-consumer", "--topic", "one", *words)
    compared.same(tool, "--list", "--state")
    compared.same(tool, "--list", "--type")
    compared.same(tool, "--list", "--type", "consumer")
    compared.same(tool, "--list", "--state", "stable")
    for group in ("g", "h", "absent"):
        for what in ((), ("--offsets", "--verbose"), ("--members",), ("--state",)):
            compared.same(tool, "--describe", "--group", group, *what)
    compared.same(tool, "--describe", "--all-groups")
    moves = [
        ("--to-earliest",), ("--to-latest",), ("--to-offset", "7"), ("--shift-by", "-3"), ("--shift-by", "100000"), ("--to-current",),
        ("--to-datetime", "2020-01-01T00:00:00.000"), ("--by-duration", "PT10H"), ("--to-offset", "-5"),
    ]
    for move in moves:
        compared.same(tool, "--reset-offsets", *of_g, *move, "--execute")
    compared.same(tool, "--reset-offsets", *of_g, "--to-latest", "--dry-run")
    compared.same(tool, "--describe", "--group", "g")
    compared.same(tool, "--reset-offsets", "--group", "g", "--all-topics", "--to-earliest", "--export", "--dry-run")
    compared.same(tool, "--reset-offsets", "--group", "new", "--topic", "two", "--to-latest", "--execute")
    compared.same(tool, "--reset-offsets", "--group", "new", "--topic", "absent", "--to-latest", "--execute")
    compared.same(tool, "--delete-offsets", "--group", "new", "--topic", "two:1")
    compared.same(tool, "--delete-offsets", "--group", "new", "--topic", "absent")
    compared.same(tool, "--delete-offsets", "--group", "absent", "--topic", "one")
    compared.same(tool, "--describe", "--group", "new")
    compared.same("kafka-groups", "--list")
    compared.same("kafka-groups", "--list", "--protocol", "consumer")
    compared.same("kafka-share-groups", "--list")


def live_groups(compared):
    tool = "kafka-consumer-groups"
    for group, protocol in (("live-classic", "classic"), ("live-consumer", "consumer")):
        compared.both(lambda side, group=group, protocol=protocol: side.join(group, protocol))
        for what in ((), ("--offsets", "--verbose"), ("--members",), ("--members", "--verbose"), ("--state",), ("--state", "--verbose")):
            compared.same(tool, "--describe", "--group", group, *what)
        compared.same(tool, "--reset-offsets", "--group", group, "--topic", "one", "--to-earliest", "--execute")
        compared.same(tool, "--delete-offsets", "--group", group, "--topic", "one")
        compared.same(tool, "--delete", "--group", group)
    compared.same(tool, "--list", "--state")
    compared.same("kafka-groups", "--list")
    compared.both(Side.end_members)
    compared.same(tool, "--delete", "--group", "live-classic", "--group", "live-consumer", "--group", "g", "--group", "absent")
    compared.same(tool, "--list")


def transactions(compared):
    tool = "kafka-transactions"
    compared.same(tool, "list")
    compared.same(tool, "list", "--duration-filter", "100000")
    compared.same(tool, "list", "--transactional-id-pattern", "pe.*")
    compared.same(tool, "describe", "--transactional-id", "perf")
    compared.same(tool, "describe", "--transactional-id", "nobody")
    compared.same(tool, "describe-producers", "--topic", "one", "--partition", "0")
    compared.same(tool, "find-hanging", "--broker-id", "1")
    compared.same(tool, "find-hanging", "--topic", "one", "--partition", "0")
    compared.same(tool, "abort", "--topic", "one", "--partition", "0", "--start-offset", "0")


def main():
    options = scene.arguments("tools-alike", peers=False).parse_args()
    settings = ["group.initial.rebalance.delay.ms=0"]

    def play(work, closing):
        yeoul = brokers.Yeoul(work / "yeoul", brokers.yeoul_binary(options.binary), settings)
        sides = [Side("yeoul", yeoul, work), Side("kafka", brokers.Kafka(work / "kafka", settings, heap="512m"), work)]
        closing += sides
        compared = Compared(sides)
        compared.both(Side.start)
        for part in (data, offsets, groups, live_groups, transactions):
            part(compared)
        if compared.differences:
            raise Failed("of Yeoul the tools say something else:\n" + "\n\n".join(compared.differences))
        say(f"{compared.calls} calls of Kafka's tools print the same {compared.lines} lines of both brokers")
        for side in sides:
            side.broker.stop()

    scene.play("tools-alike", options, play)


if __name__ == "__main__":
    main()
