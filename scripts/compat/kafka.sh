#!/usr/bin/env bash
# kafka.sh: the real Apache Kafka 4.3.1, one node on 127.0.0.1, as a peer to measure against and to ask; and its tools.
#
#   kafka.sh start --dir D [--port N] [--cpus LIST] [--heap SIZE] [--set KEY=VALUE]...
#                  starts (or restarts) the node whose data lies in D, waits until it answers, prints HOST:PORT PID.
#                  --port: 0 or absent takes any free one at the first start and the same one later; --cpus: taskset;
#                  --heap: fixed and touched beforehand (default: Kafka's own, 1 GiB); --set: a line of server.properties
#   kafka.sh stop --dir D [--kill]       ends it: SIGTERM, or SIGKILL
#   kafka.sh tool [3.9] NAME ARGS...     runs one of its command-line tools, of release 4.3.1 or of 3.9.1
#   kafka.sh class NAME                  prints the class of a tool of 4.3.1
#   kafka.sh java ARGS...                java with the jars of 4.3.1
#
# Needs a JDK 17; Maven brings the jars at the first use (tests/compat/java/pom-*.xml).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# java_of RELEASE HEAP ARGS...: becomes that release's java.
java_of() {
  local release=$1 heap=$2 log=-Dlog4j2.configurationFile=$CLIENTS/java/log4j2.properties
  shift 2
  have java || die "needs Java 17 or newer (Debian: openjdk-17-jdk-headless)"
  jars "$CLIENTS/java/pom-$release.xml" "$COMPAT_HOME/kafka-$release"
  [ "$release" = 4.3 ] || log=-Dlog4j.configuration=file:$CLIENTS/java/log4j.properties
  # shellcheck disable=SC2086  # heap is several words
  exec ${PIN:-} java $heap -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 \
    -Djava.awt.headless=true "$log" -Dyeoul.log="${KAFKA_LOG:-WARN}" -cp "$COMPAT_HOME/kafka-$release/*" "$@"
}

running() { [ -s "$dir/pid" ] && kill -0 "$(<"$dir/pid")" 2>/dev/null && grep -qaF "$dir/server" "/proc/$(<"$dir/pid")/cmdline"; }

# answers: does the node answer a Metadata request (version 1, no topics) with one broker?
answers() {
  local bytes
  bytes=$(
    exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$port" || exit 0
    printf '\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x07\xff\xff\x00\x00\x00\x00' >&3
    timeout 5 head -c 12 <&3 | od -An -v -tx1 | tr -d ' \n'
  )
  [ "${bytes:8}" = 0000000700000001 ]
}

properties() {
  printf '%s\n' "process.roles=broker,controller" "node.id=1" \
    "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$quorum" \
    "advertised.listeners=PLAINTEXT://127.0.0.1:$port" "controller.listener.names=CONTROLLER" \
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT" \
    "controller.quorum.voters=1@127.0.0.1:$quorum" "log.dirs=$dir/data" \
    "offsets.topic.replication.factor=1" "transaction.state.log.replication.factor=1" \
    "transaction.state.log.min.isr=1" "share.coordinator.state.topic.replication.factor=1" \
    "share.coordinator.state.topic.min.isr=1" "group.initial.rebalance.delay.ms=0" ${settings[@]+"${settings[@]}"}
}

free_ports() {
  python3 -c 'import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))'
}

start() {
  local deadline=$((SECONDS + 120)) free
  mkdir -p "$dir"
  running && die "it runs already: pid $(<"$dir/pid")"
  free=$(free_ports)
  if [ -f "$dir/ports" ]; then read -r port quorum <"$dir/ports"; else
    quorum=${free#* }
    [ "$port" != 0 ] || port=${free% *}
  fi
  properties >"$dir/server.properties"
  if [ ! -f "$dir/ports" ]; then
    (java_of 4.3 -Xmx256m kafka.tools.StorageTool random-uuid) >"$dir/cluster-id" 2>/dev/null
    (java_of 4.3 -Xmx256m kafka.tools.StorageTool format -t "$(<"$dir/cluster-id")" -c "$dir/server.properties") \
      >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; die "could not format $dir"; }
    echo "$port $quorum" >"$dir/ports"
  fi
  # A session of its own, so that Ctrl-C at the terminal ends this script and not the broker.
  PIN=${cpus:+taskset -c $cpus} KAFKA_LOG=${KAFKA_LOG:-WARN} setsid "$0" run "$heap" "$dir/server.properties" \
    </dev/null >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  until answers; do
    kill -0 "$(<"$dir/pid")" 2>/dev/null || { tail -n 20 "$dir/log" >&2; die "Kafka ended while starting: $dir/log"; }
    [ "$SECONDS" -lt "$deadline" ] || die "Kafka does not answer: pid $(<"$dir/pid"), log $dir/log"
    sleep 0.05
  done
  say "127.0.0.1:$port $(<"$dir/pid")"
}

stop() {
  local pid
  running || { rm -f "$dir/pid"; return 0; }
  pid=$(<"$dir/pid")
  kill -s "$signal" "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  rm -f "$dir/pid"
}

class_of() {
  local t=org.apache.kafka.tools
  case $1 in
    kafka-topics) echo $t.TopicCommand ;;
    kafka-configs) if [ "$2" = 3.9 ]; then echo kafka.admin.ConfigCommand; else echo kafka.admin.ConfigCommand; fi ;;
    kafka-dump-log) if [ "$2" = 3.9 ]; then echo kafka.tools.DumpLogSegments; else echo $t.DumpLogSegments; fi ;;
    kafka-get-offsets) echo $t.GetOffsetShell ;;
    kafka-producer-perf-test) echo $t.ProducerPerformance ;;
    kafka-consumer-perf-test) echo $t.ConsumerPerformance ;;
    kafka-e2e-latency) echo $t.EndToEndLatency ;;
    kafka-cluster) echo $t.ClusterTool ;;
    kafka-broker-api-versions) if [ "$2" = 3.9 ]; then echo kafka.admin.BrokerApiVersionsCommand; else echo $t.BrokerApiVersionsCommand; fi ;;
    kafka-console-producer) if [ "$2" = 3.9 ]; then echo kafka.tools.ConsoleProducer; else echo $t.ConsoleProducer; fi ;;
    kafka-console-consumer) echo $t.consumer.ConsoleConsumer ;;
    kafka-consumer-groups) echo $t.consumer.group.ConsumerGroupCommand ;;
    kafka-share-groups) echo $t.consumer.group.ShareGroupCommand ;;
    kafka-groups) echo $t.GroupsCommand ;;
    kafka-log-dirs) echo $t.LogDirsCommand ;;
    kafka-delete-records) echo $t.DeleteRecordsCommand ;;
    kafka-metadata-quorum) echo $t.MetadataQuorumCommand ;;
    kafka-features) echo $t.FeatureCommand ;;
    kafka-leader-election) echo $t.LeaderElectionCommand ;;
    kafka-transactions) echo $t.TransactionsCommand ;;
    kafka-reassign-partitions) echo $t.reassign.ReassignPartitionsCommand ;;
    *) die "no such tool here: $1" ;;
  esac
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  run) java_of 4.3 "$1" kafka.Kafka "$2" ;; # what 'start' starts
  tool)
    release=4.3
    if [ "${1:-}" = 3.9 ]; then release=3.9 && shift; fi
    class=$(class_of "${1:?a tool\'s name}" "$release")
    shift
    java_of "$release" "-Xmx512m" "$class" "$@"
    ;;
  class) class_of "${1:?a tool\'s name}" 4.3 ;;
  java) java_of 4.3 -Xmx512m "$@" ;;
  start | stop)
    port=0 dir="" cpus="" heap="-Xms1G -Xmx1G" settings=() signal=TERM
    while [ $# -gt 0 ]; do
      case $1 in
        --kill) signal=KILL && shift && continue ;;
        --dir | --port | --cpus | --heap | --set) [ $# -ge 2 ] || die "$1 wants a value" ;;
        *) die "'$command' knows no $1" ;;
      esac
      case $1 in
        --dir) dir=$(realpath -m "$2") ;;
        --port) port=$2 ;;
        --cpus) cpus=$2 ;;
        --heap) heap="-Xms$2 -Xmx$2 -XX:+AlwaysPreTouch" ;;
        --set) settings+=("$2") ;;
      esac
      shift 2
    done
    [ -n "$dir" ] || die "--dir names the folder for its data"
    "$command"
    ;;
  help | --help | -h) help_from "$0" ;;
  *) help_from "$0" >&2; exit 2 ;;
esac
