"""Load on coordinators by confluent-kafka: what bench_groups.py measures, one line of JSON a call.

create BOOTSTRAP TOPIC PARTITIONS
commits BOOTSTRAP TOPIC MEMBERS SECONDS          each member commits again and again, waiting for each answer
rebalance BOOTSTRAP TOPIC MEMBERS KIND           KIND: classic (range), cooperative (cooperative-sticky), consumer (KIP-848)
transactions BOOTSTRAP TOPIC EVERY_MS SECONDS    1 KiB records as fast as they go, a commit every so many ms; 0: no transactions
positions BOOTSTRAP TOPIC PARTITIONS GROUPS      commits one position of each partition in each group
committed BOOTSTRAP TOPIC GROUPS                 until some hundred groups have told their positions of partition 0; how many were wrong
"""

import concurrent.futures
import json
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DEADLINE_S = 180
REQUEST_S = 2
ASKED = 100  # groups, of those that have positions
AT_ONCE = 8  # administrators that commit positions


def settings(bootstrap, **more):
    return {"bootstrap.servers": bootstrap, **{name.replace("_", "."): value for name, value in more.items()}}


def wait_until(what, done):
    """Seconds until done() is true. Errors: ends the program after DEADLINE_S."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > DEADLINE_S:
            sys.exit(f"not within {DEADLINE_S} s: {what()}")
        time.sleep(0.005)
    return time.monotonic() - began


def insist(ask):
    """What ask() gives; asked again while a coordinator is not there. Errors: the client's, after DEADLINE_S."""
    began = time.monotonic()
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() - began > DEADLINE_S:
                raise
            time.sleep(0.01)


def create(bootstrap, topic, partitions):
    admin = AdminClient(settings(bootstrap))
    for future in admin.create_topics([NewTopic(topic, int(partitions), 1)]).values():
        future.result()
    return {}


class Member:
    """One member of a group, polled by a thread of its own until it leaves; that thread also does what `work` is set to."""

    def __init__(self, bootstrap, topic, group, kind):
        how = {"group_protocol": "consumer"} if kind == "consumer" else {"partition_assignment_strategy": {"classic": "range", "cooperative": "cooperative-sticky"}[kind]}
        self.owned = set()
        self.work = None
        self.leaving = False
        self.consumer = Consumer(settings(bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", **how))
        self.consumer.subscribe([topic], on_assign=self.gained, on_revoke=self.lost, on_lost=self.lost)
        self.thread = threading.Thread(target=self.poll)
        self.thread.start()

    def gained(self, _, partitions):
        self.owned = self.owned | {at.partition for at in partitions}

    def lost(self, _, partitions):
        self.owned = self.owned - {at.partition for at in partitions}

    def poll(self):
        while not self.leaving:
            self.consumer.poll(0.1)
            if self.work:
                self.work(self)
                self.work = None
        self.consumer.close()

    def leave(self):
        self.leaving = True

    def left(self):
        self.leave()
        self.thread.join()


def shared(members, partitions):
    """Whether the members have all partitions among them, as evenly as can be."""
    owned = [member.owned for member in members]
    least = partitions // len(members)
    return all(least <= len(one) <= least + 1 for one in owned) and len(set().union(*owned)) == sum(map(len, owned)) == partitions


def count_of(bootstrap, topic):
    admin = AdminClient(settings(bootstrap))
    return len(admin.list_topics(topic).topics[topic].partitions)


def rebalance(bootstrap, topic, members, kind):
    partitions, group = count_of(bootstrap, topic), f"rebalance-{uuid.uuid4()}"
    join = lambda: Member(bootstrap, topic, group, kind)  # noqa: E731
    there = [join() for _ in range(int(members))]
    try:
        told = lambda: sorted(len(member.owned) for member in there)  # noqa: E731
        result = {"all_join_s": wait_until(told, lambda: shared(there, partitions))}
        leaver = there.pop()
        leaver.leave()
        result["one_leaves_s"] = wait_until(told, lambda: shared(there, partitions))
        leaver.left()
        there.append(join())
        result["one_joins_s"] = wait_until(told, lambda: shared(there, partitions))
        return result
    finally:
        for member in there:
            member.leave()
        for member in there:
            member.left()


def commits(bootstrap, topic, members, seconds):
    members, seconds, group = int(members), float(seconds), f"commits-{uuid.uuid4()}"
    there = [Member(bootstrap, topic, group, "classic") for _ in range(members)]
    partitions = count_of(bootstrap, topic)
    wait_until(lambda: "members have partitions", lambda: shared(there, partitions))
    ends = time.monotonic() + seconds
    times = []

    def commit(member):
        mine, done = min(member.owned), []
        while (began := time.monotonic()) < ends:
            member.consumer.commit(offsets=[TopicPartition(topic, mine, len(done) + 1)], asynchronous=False)
            done.append(time.monotonic() - began)
        times.extend(done)

    for member in there:
        member.work = commit
    wait_until(lambda: "commits end", lambda: not any(member.work for member in there))
    for member in there:
        member.leave()
    for member in there:
        member.left()
    times.sort()
    return {"commits_per_s": len(times) / seconds, "p50_ms": times[len(times) // 2] * 1e3, "p99_ms": times[len(times) * 99 // 100] * 1e3}


def transactions(bootstrap, topic, every_ms, seconds):
    every, seconds = float(every_ms) / 1e3, float(seconds)
    how = {"transactional_id": f"bench-{uuid.uuid4()}"} if every else {}
    producer = Producer(settings(bootstrap, enable_idempotence=True, linger_ms=5, batch_size=1 << 20, queue_buffering_max_messages=100_000, **how))
    if every:
        producer.init_transactions()
    value, failed = b"x" * 1024, []
    sent = ended = 0
    commits_ms = []

    def told(error, _):
        if error:
            failed.append(error)

    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if every:
            producer.begin_transaction()
        until = time.monotonic() + (every or seconds)
        while time.monotonic() < until:
            try:
                producer.produce(topic, value, on_delivery=told)
                sent += 1
            except BufferError:
                producer.poll(0.01)
            if sent % 256 == 0:
                producer.poll(0)
        if every:
            ending = time.monotonic()
            producer.commit_transaction()
            commits_ms.append((time.monotonic() - ending) * 1e3)
            ended += 1
    producer.flush()
    took = time.monotonic() - began
    if failed:
        sys.exit(f"{len(failed)} records failed: {failed[0]}")
    commits_ms.sort()
    result = {"records_per_s": sent / took, "transactions_per_s": ended / took}
    return result | ({"commit_p50_ms": commits_ms[len(commits_ms) // 2], "commit_p99_ms": commits_ms[len(commits_ms) * 99 // 100]} if commits_ms else {})


def positions(bootstrap, topic, partitions, groups):
    admin = AdminClient(settings(bootstrap))
    all_of = lambda number: [TopicPartition(topic, partition, number + partition) for partition in range(int(partitions))]  # noqa: E731

    def commit(number):
        request = ConsumerGroupTopicPartitions(f"positions-{number}", all_of(number))
        insist(lambda: [future.result() for future in admin.alter_consumer_group_offsets([request], request_timeout=REQUEST_S).values()])

    commit(0)  # which makes the coordinators
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(commit, range(int(groups))))
    return {"positions_per_s": int(groups) * int(partitions) / (time.monotonic() - began)}


def committed(bootstrap, topic, groups):
    began = time.monotonic()
    asked, wrong = range(0, int(groups), max(1, int(groups) // ASKED)), 0
    for number in asked:
        consumer = Consumer(settings(bootstrap, group_id=f"positions-{number}", enable_auto_commit=False))
        (told,) = insist(lambda: consumer.committed([TopicPartition(topic, 0)], timeout=REQUEST_S))  # noqa: B023
        wrong += told.offset != number
        consumer.close()
    return {"told_s": time.monotonic() - began, "wrong": wrong}


if __name__ == "__main__":
    words = {work.__name__: work for work in (create, commits, rebalance, transactions, positions, committed)}
    if len(sys.argv) < 2 or sys.argv[1] not in words:
        sys.exit(__doc__)
    print(json.dumps(words[sys.argv[1]](*sys.argv[2:])))
