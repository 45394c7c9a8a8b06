"""Runs the applications of examples/ and checks what comes out: see scripts/examples.sh, which calls this."""

import collections
import datetime
import subprocess
import time

import scene
from brokers import HOME, ROOT
from scene import Failed, say

EXAMPLES = ROOT / "examples"
DEADLINE_S = 120
SERVICES, LINES = 4, 3_000
ORDERS = 2_000
SENSORS, MINUTES = 10, 4


class Run:
    def __init__(self, options, work, broker):
        self.names, self.work, self.broker, self.started = options.names, work, broker, []

    def command(self, program, *words):
        return [HOME / "python/bin/python", EXAMPLES / program, self.broker.address, *map(str, words)]

    def python(self, program, *words):
        """Runs one to its end; its output."""
        done = subprocess.run(self.command(program, *words), capture_output=True, text=True, timeout=DEADLINE_S * 2)
        if done.returncode:
            raise Failed(f"{program} ended with {done.returncode}: {done.stdout[-1000:]} {done.stderr[-2000:]}")
        return done.stdout

    def start(self, command, name):
        with open(self.work / f"{name}.log", "ab") as log:
            process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.started.append(process)
        return process

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def wait(self, process, what, done):
        until = time.monotonic() + DEADLINE_S
        while not (found := done()):
            if process is not None and process.poll() is not None:
                raise Failed(f"{what}: the application ended with {process.returncode}; see {self.work}")
            if time.monotonic() > until:
                raise Failed(f"{what}: not within {DEADLINE_S} s; see {self.work}")
            time.sleep(0.1)
        return found

    def all(self):
        for name in self.names or EXAMPLE:
            began = time.monotonic()
            say(f"{name}: {EXAMPLE[name](self)} ({time.monotonic() - began:.0f} s)")

    # -- the applications --

    def log_collection(self):
        began = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
        lines = collections.defaultdict(list)
        for number in range(LINES):
            at = began + datetime.timedelta(milliseconds=137 * number)
            level = "ERROR" if number % 50 == 7 else "INFO"
            lines[number % SERVICES].append((at, f"{at.isoformat(timespec='milliseconds')} {level} request {number}"))
        files = [self.work / f"service-{service}.log" for service in lines]
        half = LINES // SERVICES // 2
        for part in (slice(0, half), slice(half, None)):  # what comes later is shipped later
            for service, told in lines.items():
                with open(files[service], "a") as file:
                    file.writelines(line + "\n" for _, line in told[part])
            self.python("log-collection/ship.py", "logs", *files)
        since = began + datetime.timedelta(milliseconds=137 * (LINES // 3))
        replayed = self.python("log-collection/replay.py", "logs", "--since", since.isoformat()).splitlines()
        wanted = sorted((at, line) for told in lines.values() for at, line in told if at >= since)
        if replayed != [line for _, line in wanted]:
            raise Failed(f"{len(replayed)} lines since {since}, not the {len(wanted)} that were written")
        errors = self.python("log-collection/replay.py", "logs", "--since", since.isoformat(), "--level", "ERROR").splitlines()
        if errors != [line for _, line in wanted if " ERROR " in line]:
            raise Failed(f"{len(errors)} errors since {since}")
        return f"{LINES} lines of {SERVICES} files; {len(replayed)} since a third of the way, {len(errors)} of them errors"

    def orders(self):
        self.python("orders/shop.py", "--orders", ORDERS // 2)
        instances = [("payments", "first"), ("payments", "second"), ("shipping", "first")]
        there = {at: self.start(self.command(f"orders/{at[0]}.py", at[1]), "-".join(at)) for at in instances}
        self.python("orders/shop.py", "--orders", ORDERS // 2, "--from", ORDERS // 2)
        for victim in (("payments", "first"), ("shipping", "first")):
            there[victim].kill()
            there[victim].wait()
            there[victim] = self.start(self.command(f"orders/{victim[0]}.py", victim[1]), "-".join(victim))
        told = self.python("orders/audit.py", "--orders", ORDERS, "--seconds", DEADLINE_S).strip()
        for process in there.values():
            process.terminate()
        for (name, instance), process in there.items():
            if process.wait(60):
                raise Failed(f"{name} {instance} ended with {process.returncode}; see {self.work}")
        return told

    def sensors(self):
        if not (HOME / "classes-sensors/Alerts.class").exists():
            return "skipped: no JDK 17"
        wrong = self.python("sensors/readings.py", "--sensors", SENSORS, "--minutes", MINUTES).splitlines()
        state = self.work / "alerts-state"
        settings = f"-Dlog4j2.configurationFile={ROOT}/tests/compat/java/log4j2.properties"
        classes = f"{HOME}/classes-sensors:{HOME}/sensors/*"
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", settings, "-Dyeoul.log=WARN", "-cp", classes, "Alerts", self.broker.address, state]
        process = self.start(command, "alerts")
        alerts = self.wait(process, f"{len(wrong)} alerts", lambda: self.alerts(len(wrong)))
        process.terminate()
        process.wait(60)
        if sorted(alerts) != sorted(wrong):
            raise Failed(f"alerts for {set(alerts) - set(wrong)} that were right, none for {set(wrong) - set(alerts)}")
        return f"{SENSORS * MINUTES * 60} readings, {len(wrong)} of them wrong, {len(alerts)} alerts, for each one"

    def alerts(self, count):
        """`SENSOR TIME_MS` of each alert, once there are so many, and once more some time later."""
        found = self.read_alerts()
        if len(found) < count:
            return None
        time.sleep(1)
        return self.read_alerts()

    def read_alerts(self):
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.broker.address, "group.id": "check", "enable.partition.eof": True, "isolation.level": "read_committed"})
        consumer.assign([TopicPartition("alerts", 0, 0)])
        found = []
        while (record := consumer.poll(10)) is not None and not record.error():
            found.append(f"{record.key().decode()} {record.value().decode().split()[0]}")
        consumer.close()
        return found


EXAMPLE = {"log-collection": Run.log_collection, "orders": Run.orders, "sensors": Run.sensors}


def main():
    parser = scene.arguments("examples")
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(EXAMPLE))
    options = parser.parse_args()
    if unknown := set(options.names) - set(EXAMPLE):
        parser.error(f"no such example: {' '.join(unknown)}")
    scene.play_on_one("examples", options, [], Run, catch=(subprocess.SubprocessError,))


if __name__ == "__main__":
    main()
