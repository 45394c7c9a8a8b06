"""Kafka's command-line tools, many calls in one JVM (tests/compat/java/Tools.java), or one in a process of its own."""

import base64
import functools
import re
import subprocess

from brokers import HERE, ROOT
from scene import Failed

# What keeps state in static fields between calls, and so wants a process of its own.
APART = {"kafka-console-consumer", "kafka-producer-perf-test"}


@functools.cache
def class_of(tool):
    done = subprocess.run([HERE / "kafka.sh", "class", tool], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    return done.stdout.strip()


def encoded(text):
    return base64.b64encode(text.encode()).decode()


class KafkaTools:
    """The tools of release 4.3.1, told of one broker."""

    def __init__(self, work, name):
        self.address = None
        self.errors = open(work / f"{name}-tools.log", "wb")
        command = [HERE / "kafka.sh", "java", ROOT / "tests/compat/java/Tools.java"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def run(self, tool, *words, given=""):
        """What the tool prints on both of its outputs."""
        words = ["--bootstrap-server", self.address, *words]
        if tool in APART:
            command = [HERE / "kafka.sh", "tool", tool, *words]
            done = subprocess.run(command, capture_output=True, text=True, input=given, timeout=120)
            return done.stdout + done.stderr
        call = [class_of(tool), given, *words]
        self.process.stdin.write(" ".join(map(encoded, call)) + "\n")
        self.process.stdin.flush()
        told = self.process.stdout.readline()
        if not told.endswith("\n"):
            raise Failed(f"{tool} {' '.join(words)} ended the process of the tools: {self.errors.name}")
        return re.sub(r".*the tool has ended.*\n", "", base64.b64decode(told).decode())

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
