#!/usr/bin/env bash
# bench.sh: how fast, measured on this machine.
#
#   bench.sh micro [ARGS]   the criterion benches of benches/ ('cargo bench'; ARGS go to it)
#   bench.sh peers [ARGS]   Yeoul against the real Apache Kafka 4.3.1, as it comes and with flush.messages=1, alternating in one
#                           run, under one and the same client: produce and consume at 100 B, 1 KiB and 10 KiB, acks 1 and all,
#                           1 and 16 partitions; 16 KiB batches with 1 and 32 in flight; end-to-end latency at 1,000 records/s;
#                           start and idle memory. Prints each side with its durability class, the ratio, the broker's CPU
#                           seconds a GB. 'bench.sh peers --help' lists the options: --quick --pin --rounds N --only RE ...
#   bench.sh groups [ARGS]  coordinators, Yeoul's and Kafka's, under confluent-kafka: commits by 1 and 50 members, rebalances of 50
#                           members over 500 partitions (classic, cooperative, KIP-848), transactions with a commit every 10, 100
#                           and 1,000 ms beside none, a start with a million positions; options: --quick --rounds N --only RE ...
#
# Installs what it needs under $YEOUL_COMPAT_HOME (scripts/compat/clients.sh); builds Yeoul unless --binary names one.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  micro) cd "$ROOT" && exec cargo bench --locked --benches "$@" ;;
  peers)
    "$COMPAT/clients.sh" install librdkafka java43 >&2
    driver=$COMPAT_HOME/driver/driver
    if ! up_to_date "$COMPAT_HOME/driver" "$COMPAT/driver.rs"; then
      mkdir -p "$COMPAT_HOME/driver"
      rustc -O --edition 2024 -o "$driver" "$COMPAT/driver.rs"
      finish "$COMPAT_HOME/driver" "$COMPAT/driver.rs"
    fi
    case " $* " in
      *" --binary "* | *" --sides kafka"* | *" --help "*) ;;
      *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul >&2) ;;
    esac
    exec python3 "$COMPAT/bench.py" --driver "$driver" "$@"
    ;;
  groups)
    "$COMPAT/clients.sh" install python java43 >&2
    case " $* " in
      *" --binary "* | *" --sides kafka"* | *" --help "*) ;;
      *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul >&2) ;;
    esac
    exec python3 "$COMPAT/bench_groups.py" "$@"
    ;;
  help | --help | -h) help_from "$0" ;;
  *) help_from "$0" >&2; exit 2 ;;
esac
