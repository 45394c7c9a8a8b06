#!/usr/bin/env bash
# connect.sh: Kafka Connect on Yeoul. One worker by itself carries lines from a file into a topic and from there into a file; it is killed
# and started again. Then two workers together do so for two pairs of files; one is killed and the other takes over. No line is lost.
# --exactly-once: so do two more, whose sources write in transactions; then each line is in its topic once.
#
#   connect.sh [--lines N] [--exactly-once] [--binary PATH] [--broker kafka] [--keep]
#
# --broker kafka: the same on the real Apache Kafka, to try the script itself. Brings the jars with Maven first and builds Yeoul unless
# --binary names one. Uses a folder of its own under the system's temporary folder and free ports; leaves nothing when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have java || die "needs Java 17 or newer (Debian: openjdk-17-jdk-headless)"
"$COMPAT/clients.sh" install python
jars "$CLIENTS/connect/pom.xml" "$COMPAT_HOME/connect"
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec "$COMPAT_HOME/python/bin/python" "$COMPAT/connect.py" "$@"
