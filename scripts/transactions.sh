#!/usr/bin/env bash
# transactions.sh: transactions of foreign clients. Transformers of confluent-kafka, aiokafka, kafkajs (transactions v1), Java 3.9 (v1),
# Java 4.3 and franz-go (v2) read a topic and write another, exactly once: positions go with the records. Some transactions are aborted,
# each transformer is killed and started again (its id fences the one before), and the broker is killed with SIGKILL and started again.
# Then a read_committed reader sees each record once, and none that was aborted; one that reads all has seen some.
#
#   transactions.sh [--records N] [--binary PATH] [--broker kafka] [--clients LIST] [--keep]
#
# --broker kafka: the same on the real Apache Kafka, to try the script itself. Installs the clients first and builds Yeoul unless
# --binary names one. Uses a folder of its own under the system's temporary folder and free ports; leaves nothing when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have python3 || die "needs python3"
"$COMPAT/clients.sh" install python node go java43 java39
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec python3 "$COMPAT/transactions.py" "$@"
