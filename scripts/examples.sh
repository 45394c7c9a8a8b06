#!/usr/bin/env bash
# examples.sh: the three applications of examples/ on a broker of their own: each runs as its README says, and what comes out is checked.
#
#   examples.sh [NAME]... [--binary PATH] [--broker kafka] [--keep]
#
# NAME: log-collection orders sensors (default: all). A service of 'orders' is killed in the middle. Installs confluent-kafka first, and
# with Maven the jars of 'sensors', which is skipped, and said to be, where there is no JDK 17. Builds Yeoul unless --binary names one.
# --broker kafka: the same on the real Apache Kafka. Uses free ports and a temporary folder; leaves nothing when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
"$COMPAT/clients.sh" install python
sensors=$ROOT/examples/sensors
if have javac; then
  jars "$sensors/pom.xml" "$COMPAT_HOME/sensors"
  classes=$COMPAT_HOME/classes-sensors
  if ! up_to_date "$classes" "$sensors"/*.java "$sensors/pom.xml"; then
    rm -rf "$classes"
    mkdir -p "$classes"
    javac -nowarn -d "$classes" -cp "$COMPAT_HOME/sensors/*" "$sensors"/*.java
    finish "$classes" "$sensors"/*.java "$sensors/pom.xml"
  fi
fi
case " $* " in
  *" --binary "* | *" --broker kafka "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec "$COMPAT_HOME/python/bin/python" "$COMPAT/examples.py" "$@"
