#!/usr/bin/env bash
# mirror.sh: MirrorMaker 2 between the real Apache Kafka 4.3.1 and Yeoul, both ways: records, settings and partitions of topics, and
# positions of groups, translated. It is killed in the middle and started again; no record is missing on either side.
#
#   mirror.sh [--records N] [--binary PATH] [--keep]
#
# Brings the jars with Maven and the Python client first, and builds Yeoul unless --binary names one. Uses a folder of its own under the
# system's temporary folder and free ports; leaves nothing when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have java || die "needs Java 17 or newer (Debian: openjdk-17-jdk-headless)"
"$COMPAT/clients.sh" install python
jars "$CLIENTS/connect/pom.xml" "$COMPAT_HOME/connect"
case " $* " in
  *" --binary "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec "$COMPAT_HOME/python/bin/python" "$COMPAT/mirror.py" "$@"
