"""A broker as the scripts see it: Yeoul, or the real Apache Kafka through kafka.sh, behind the same few methods."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HOME = pathlib.Path(os.environ.get("YEOUL_COMPAT_HOME") or pathlib.Path.home() / ".cache/yeoul-compat")
TICKS = os.sysconf("SC_CLK_TCK")


class BrokerFailed(Exception):
    """The broker did not do what it was told; the text is for a person."""


class Broker:
    """What both have. `address` is HOST:PORT and stays the same over restarts."""

    name = ""
    address = ""
    pid = 0

    def cpu_seconds(self):
        """User and system time of the process so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, what="VmRSS"):
        """Resident bytes now (VmRSS) or at most so far (VmHWM)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
        raise BrokerFailed(f"no {what} of pid {self.pid}")

    def segments(self, topic):
        """{partition: its segment files in order} as they lie on the disk."""
        found = {}
        for path in sorted(self.folder.rglob(f"{topic}-*/*.log")):
            # Kafka names a partition's folder TOPIC-N, Yeoul TOPIC-N.ID.
            named = re.fullmatch(re.escape(topic) + r"-(\d+)(\..*)?", path.parent.name)
            if named:
                found.setdefault(int(named.group(1)), []).append(path)
        return found


class Yeoul(Broker):
    name = "yeoul"

    def __init__(self, folder, binary, settings=(), cpus=None, options=()):
        self.folder = pathlib.Path(folder)
        self.binary, self.settings, self.cpus, self.options = str(binary), list(settings), cpus, list(options)
        self.process = None
        self.admin = ""
        self.ready_ms = 0.0

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [self.binary, "start", "--data", str(self.folder / "data")]
        command += ["--kafka", self.address or "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-file", str(ready)]
        for setting in self.settings:
            command += ["--set", setting]
        command += self.options
        if self.cpus:
            command = ["taskset", "-c", self.cpus, *command]
        began = time.monotonic()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        while True:
            try:
                told = json.loads(ready.read_text())
                if told["pid"] == self.process.pid:
                    break
            except (OSError, ValueError, KeyError):
                pass
            if self.process.poll() is not None:
                raise BrokerFailed(f"yeoul ended with {self.process.returncode} while starting:\n{self.log_end()}")
            if time.monotonic() - began > 60:
                raise BrokerFailed(f"yeoul is not ready after 60 s:\n{self.log_end()}")
            time.sleep(0.002)
        self.ready_ms = (time.monotonic() - began) * 1000
        self.address, self.admin, self.pid = told["kafka"], told["admin"], told["pid"]

    def cli(self, *words):
        """What `yeoul WORDS --format json` says of this broker."""
        command = [self.binary, *map(str, words), "--format", "json"]
        where = {"YEOUL_BROKERS": self.address, "YEOUL_ADMIN": self.admin}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **where}, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise BrokerFailed(f"yeoul {' '.join(map(str, words))}: {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def log_end(self):
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-15:])

    def _end(self, number, patience):
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise BrokerFailed(f"yeoul did not end within {patience} s of signal {number}") from None
        finally:
            self.process = None
        return code

    def kill(self):
        self._end(signal.SIGKILL, 30)

    def stop(self):
        code = self._end(signal.SIGTERM, 30)
        if code not in (0, None):
            raise BrokerFailed(f"yeoul ended with {code} at SIGTERM:\n{self.log_end()}")

    def close(self):
        """Ends it whatever its state, for cleaning up."""
        if self.process is not None and self.process.poll() is None:
            self._end(signal.SIGKILL, 30)
        self.process = None


class Kafka(Broker):
    name = "kafka"

    def __init__(self, folder, settings=(), cpus=None, heap=None):
        self.folder = pathlib.Path(folder)
        self.settings, self.cpus, self.heap = list(settings), cpus, heap
        self.ready_ms = 0.0

    def _script(self, *words):
        done = subprocess.run([HERE / "kafka.sh", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise BrokerFailed(done.stderr.strip())
        return done.stdout

    def start(self):
        words = ["start", "--dir", self.folder]
        if self.heap:
            words += ["--heap", self.heap]
        for setting in self.settings:
            words += ["--set", setting]
        if self.cpus:
            words += ["--cpus", self.cpus]
        began = time.monotonic()
        self.address, pid = self._script(*words).split()
        self.ready_ms = (time.monotonic() - began) * 1000
        self.pid = int(pid)

    def kill(self):
        self._script("stop", "--dir", self.folder, "--kill")

    def stop(self):
        self._script("stop", "--dir", self.folder)

    def close(self):
        self.kill()


def yeoul_binary(given=None):
    """The binary to run: the one given, else target/release/yeoul, built first by scripts/start.sh or test.sh."""
    path = pathlib.Path(given or os.environ.get("YEOUL_BINARY") or target_folder() / "release/yeoul")
    if not path.is_file():
        raise BrokerFailed(f"no {path}: build it with 'cargo build --release', or name another with --binary")
    return path


def target_folder():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
