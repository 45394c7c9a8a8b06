#!/usr/bin/env bash
# tools.sh: Kafka's own tools against Yeoul. Those of administration (kafka-topics, kafka-configs, kafka-delete-records,
# kafka-log-dirs, kafka-metadata-quorum, kafka-features, kafka-leader-election, kafka-reassign-partitions, kafka-transactions): each
# does its work. Then those of groups, offsets and transactions, beside the real Kafka: both brokers are told the same, and what the
# tools print of them is the same but for times, ids and ports.
#
#   tools.sh [--binary PATH] [--broker kafka]   the first part; --broker kafka: on the real one, to try the script itself
#   tools.sh --alike [--binary PATH]            the second part
#
# Installs the tools first (scripts/compat/clients.sh) and builds Yeoul unless --binary names one. Leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have python3 || die "needs python3"
"$COMPAT/clients.sh" install java43
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
if [ "${1:-}" = --alike ]; then exec python3 "$COMPAT/tools_alike.py" "${@:2}"; fi
exec python3 "$COMPAT/tools.py" "$@"
