"""Kafka's own administration tools against Yeoul (or, to try the script, the real Kafka): each does its work and says so."""

import json
import re

import scene
from kafka_tools import KafkaTools
from scene import Failed, say


class Tools:
    def __init__(self, address, folder):
        self.folder, self.count = folder, 0
        self.tools = KafkaTools(folder, "tools")
        self.tools.address = address

    def run(self, tool, *words, says):
        """Runs a tool; what it says must match."""
        told = self.tools.run(tool, *words)
        if not re.search(says, told):
            raise Failed(f"{tool} {' '.join(words)} does not say {says!r}:\n{told[-2000:]}")
        self.count += 1
        print(f"  {tool} {' '.join(words)}")
        return told

    def file(self, name, value):
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)


def topics(tools):
    tools.run("kafka-topics", "--create", "--topic", "t", "--partitions", "2", says="Created topic t")
    tools.run("kafka-topics", "--alter", "--topic", "t", "--partitions", "4", says=r"^\s*$")
    tools.run("kafka-topics", "--describe", "--topic", "t", says=r"PartitionCount: 4\b")
    tools.run("kafka-topics", "--alter", "--topic", "t", "--partitions", "3", says="would not be an increase")


def settings(tools):
    topic = ("--entity-type", "topics", "--entity-name", "t")
    broker = ("--entity-type", "brokers", "--entity-name", "1")
    every = ("--entity-type", "brokers", "--entity-default")
    done = "Completed updating"
    change = "retention.ms=60000,cleanup.policy=[compact,delete]"
    tools.run("kafka-configs", "--alter", *topic, "--add-config", change, says=done)
    tools.run("kafka-configs", "--describe", *topic, says=r"DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete")
    tools.run("kafka-configs", "--alter", *topic, "--delete-config", "cleanup.policy", says=done)
    refused = "segment.bytes: Value must be at least 1048576"
    tools.run("kafka-configs", "--alter", *topic, "--add-config", "segment.bytes=1000", says=refused)
    tools.run("kafka-configs", "--alter", *every, "--add-config", "log.segment.bytes=2097152", says=done)
    tools.run("kafka-configs", "--describe", *every, says="DYNAMIC_DEFAULT_BROKER_CONFIG:log.segment.bytes=2097152")
    tools.run("kafka-configs", "--describe", "--all", *topic, says=r"segment.bytes=2097152")
    tools.run("kafka-configs", "--describe", "--all", *broker, says=r"ssl.client.auth=none")
    tools.run("kafka-configs", "--alter", *broker, "--add-config", "num.partitions=9", says="Cannot update these configs")


def records(tools):
    offsets = tools.file("offsets.json", {"version": 1, "partitions": [{"topic": "t", "partition": 0, "offset": 0}]})
    tools.run("kafka-delete-records", "--offset-json-file", offsets, says=r"partition: t-0\s+low_watermark: 0")
    tools.run("kafka-log-dirs", "--describe", says=r'"partition":"t-3","size":0')


def cluster(tools):
    tools.run("kafka-metadata-quorum", "describe", "--status", says=r"LeaderId:\s+1\b")
    tools.run("kafka-metadata-quorum", "describe", "--replication", says=r"\bLeader\b")
    tools.run("kafka-features", "describe", says=r"metadata.version\s.*FinalizedVersionLevel: 4.3-IV0")
    tools.run("kafka-features", "upgrade", "--feature", "metadata.version=30", says="was upgraded to 30")
    tools.run("kafka-features", "upgrade", "--feature", "nope=1", says="Could not upgrade nope")
    elect = ("--election-type", "preferred", "--topic", "t", "--partition", "0")
    tools.run("kafka-leader-election", *elect, says="Valid replica already elected for partitions t-0")
    moves = tools.file("moves.json", {"version": 1, "partitions": [{"topic": "t", "partition": 0, "replicas": [1]}]})
    plan = ("--reassignment-json-file", moves)
    tools.run("kafka-reassign-partitions", *plan, "--execute", says="Successfully started partition reassignment")
    tools.run("kafka-reassign-partitions", *plan, "--verify", says="Reassignment of partition t-0 is completed")
    tools.run("kafka-reassign-partitions", "--list", says="No partition reassignments found")


def transactions(tools):
    tools.run(
        "kafka-producer-perf-test", "--topic", "t", "--num-records", "200", "--record-size", "10", "--throughput", "-1",
        "--transactional-id", "perf", "--transaction-duration-ms", "100", says="200 records sent",
    )
    tools.run("kafka-transactions", "list", says=r"perf\s+\d+\s+\d+\s+CompleteCommit")
    tools.run("kafka-transactions", "describe", "--transactional-id", "perf", says=r"\d+\s+perf\s+\d+\s+\d+\s+CompleteCommit")
    tools.run("kafka-transactions", "describe", "--transactional-id", "nobody", says="(?i)not.?found|could not be found")
    tools.run("kafka-transactions", "describe-producers", "--topic", "t", "--partition", "0", says="LastSequence")
    tools.run("kafka-transactions", "find-hanging", "--broker-id", "1", says=r"Duration\(min\)\s*$")
    tools.run("kafka-features", "describe", says=r"transaction.version\s.*FinalizedVersionLevel: 2")


class Run:
    def __init__(self, _, work, broker):
        self.work, self.broker, self.tools = work, broker, None

    def all(self):
        self.tools = tools = Tools(self.broker.address, self.work)
        for part in (topics, settings, records, cluster, transactions):
            part(tools)
        say(f"all {tools.count} calls of Kafka's tools did their work")

    def close(self):
        if self.tools:
            self.tools.tools.close()


def main():
    scene.play_on_one("tools", scene.arguments("tools").parse_args(), [], Run)


if __name__ == "__main__":
    main()
