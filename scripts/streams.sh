#!/usr/bin/env bash
# streams.sh: applications of Kafka Streams on Yeoul: a word count, and a join with windows. Each is ended in the middle (in order, or, of
# exactly once, by SIGKILL) and started again; what it says in the end is what a plain computation over the same input says. See
# tests/compat/streams.
#
#   streams.sh [--lines N] [--guarantees at_least_once|exactly_once_v2 ...] [--binary PATH] [--broker kafka] [--keep]
#
# --broker kafka: the same on the real Apache Kafka, to try the script itself. Brings the jars with Maven first and builds Yeoul unless
# --binary names one. Uses a folder of its own under the system's temporary folder and free ports; leaves nothing when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have javac || die "needs a JDK 17 or newer (Debian: openjdk-17-jdk-headless)"
"$COMPAT/clients.sh" install python
jars "$CLIENTS/streams/pom.xml" "$COMPAT_HOME/streams"
classes=$COMPAT_HOME/classes-streams
if ! up_to_date "$classes" "$CLIENTS"/streams/*.java "$CLIENTS/streams/pom.xml"; then
  rm -rf "$classes"
  mkdir -p "$classes"
  javac -nowarn -d "$classes" -cp "$COMPAT_HOME/streams/*" "$CLIENTS"/streams/*.java
  finish "$classes" "$CLIENTS"/streams/*.java "$CLIENTS/streams/pom.xml"
fi
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec "$COMPAT_HOME/python/bin/python" "$COMPAT/streams.py" "$@"
