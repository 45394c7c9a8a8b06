"""What the scripts that play a scene on a broker have in common: their options, the broker, its end, what is said and kept."""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

import brokers
from brokers import BrokerFailed


class Failed(Exception):
    """Something did not come out as it should; the text is for a person."""


def say(text):
    print(text, flush=True)


def wait_for(what, done, seconds=120):
    """Looks again and again until done() is true. Errors: Failed, with what() as it is then."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise Failed(f"not within {seconds} s: {what()}")
        time.sleep(0.1)


def arguments(name, peers=True):
    """A parser of what every scene takes; with `peers`, also the real Kafka in Yeoul's place."""
    parser = argparse.ArgumentParser(prog=f"{name}.sh")
    parser.add_argument("--binary", help="the yeoul to run (default: target/release/yeoul)")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    if peers:
        parser.add_argument("--broker", choices=["yeoul", "kafka"], default="yeoul", help="kafka: the same on the real one")
    return parser


def one_broker(options, work, settings=()):
    """The broker that the options name, with these settings; not started."""
    if getattr(options, "broker", "yeoul") == "kafka":
        return brokers.Kafka(work / "broker", settings)
    return brokers.Yeoul(work / "broker", brokers.yeoul_binary(options.binary), settings)


def play(name, options, scene, catch=()):
    """Runs scene(work, closing) in a folder of its own, and ends the program.

    What has a close() goes into the list `closing` and is closed whatever happens, the last first. The folder stays if the scene
    fails. `catch`: errors of its client that are failures, not mistakes of the script.
    """
    work, closing, passed = pathlib.Path(tempfile.mkdtemp(prefix=f"yeoul-{name}-")), [], False
    began = time.monotonic()
    try:
        scene(work, closing)
        passed = True
        say(f"{name}: passed in {time.monotonic() - began:.0f} s")
    except (Failed, BrokerFailed, *catch) as failure:
        say(f"{name}: FAILED: {failure}")
    finally:
        for one in reversed(closing):
            one.close()
        if passed and not options.keep:
            shutil.rmtree(work)
        else:
            say(f"kept: {work}")
    sys.exit(0 if passed else 1)


def play_on_one(name, options, settings, run, catch=()):
    """As `play`, of run(options, work, broker) with its all() and close(), on one broker that is stopped in order at the end."""

    def scene(work, closing):
        broker = one_broker(options, work, settings)
        closing.append(broker)
        whole = run(options, work, broker)
        closing.append(whole)
        broker.start()
        whole.all()
        broker.stop()

    play(name, options, scene, catch)
