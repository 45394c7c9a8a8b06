#!/usr/bin/env bash
# tools.sh: Kafka's own administration tools (kafka-topics, kafka-configs, kafka-delete-records, kafka-log-dirs,
# kafka-metadata-quorum, kafka-features, kafka-leader-election, kafka-reassign-partitions) against Yeoul: each does its work.
#
#   tools.sh [--binary PATH] [--broker kafka]
#
# --broker kafka: the same on the real Apache Kafka, to try the script itself. Installs the tools first
# (scripts/compat/clients.sh) and builds Yeoul unless --binary names one. Leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have python3 || die "needs python3"
"$COMPAT/clients.sh" install java43
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec python3 "$COMPAT/tools.py" "$@"
