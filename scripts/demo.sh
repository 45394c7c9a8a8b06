#!/usr/bin/env bash
# demo.sh: Yeoul's main job, on real input. A third of a million flight records go into a topic with 6 partitions, in parts, by
# kcat, confluent-kafka, kafka-python, kafkajs, franz-go, and the Java clients 4.3 and 3.9; the broker is killed twice with
# SIGKILL in the middle and started again; everything is read back by these clients and by 'yeoul consume', and checked: each
# acknowledged record is there exactly once, key, value, headers and timestamp intact, each producer's order kept; and the
# real Kafka's kafka-dump-log reads the segment files.
#
#   demo.sh [--quick] [--binary PATH] [--shards N] [--seed N] [--broker kafka] [--keep]
#
# --quick: 30,000 records and fewer readers. --broker kafka: the same on the real Apache Kafka, to try the demo itself.
# Installs the clients first (scripts/compat/clients.sh) and builds Yeoul unless --binary names one. Uses a folder of its own
# under the system's temporary folder and free ports; leaves nothing behind when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have python3 || die "needs python3"
"$COMPAT/clients.sh" install kcat python node go java43 java39
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec python3 "$COMPAT/demo.py" "$@"
