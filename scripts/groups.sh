#!/usr/bin/env bash
# groups.sh: consumer groups of foreign clients. Members of confluent-kafka, kafka-python, aiokafka, franz-go and Java in one group,
# cooperative members of three clients in another, kafkajs in a third, members of the consumer protocol (KIP-848) in a fourth: they join,
# leave and are killed, all groups are moved back to the start while they run ('yeoul group seek'), and the broker is killed with SIGKILL and started again. Every record is read by each group, and each group's positions are committed to the end.
#
#   groups.sh [--records N] [--binary PATH] [--broker kafka] [--keep]
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
exec python3 "$COMPAT/groups.py" "$@"
