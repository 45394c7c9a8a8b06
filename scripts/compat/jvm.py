"""A Java program of the ecosystem as a process: its output in a file, ended by its own pid."""

import pathlib
import signal
import subprocess

from brokers import HOME, ROOT
from scene import Failed


class Jvm:
    """`words` (main class and arguments) on the jars of HOME/`jars` and perhaps more `classes`."""

    def __init__(self, work, name, jars, words, classes=(), heap="256m", log="WARN"):
        self.name, self.errors = name, pathlib.Path(work) / f"{name}.log"
        path = ":".join([*map(str, classes), f"{HOME / jars}/*"])
        settings = ROOT / "tests/compat/java/log4j2.properties"
        # One compiler thread and the serial collector: several of these share a small machine with the broker.
        self.command = ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={settings}"]
        self.command += [f"-Dyeoul.log={log}", "-cp", path, *map(str, words)]
        self.process = None

    def start(self):
        with open(self.errors, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return self

    def log(self):
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-3000:]}")

    def end(self, number=signal.SIGTERM, seconds=60):
        """Signals it and waits for its end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.close()
            raise Failed(f"{self.name} did not end within {seconds} s:\n{self.log()[-3000:]}") from None

    def kill(self):
        self.end(signal.SIGKILL)

    def close(self):
        """Ends it whatever its state, for cleaning up."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
