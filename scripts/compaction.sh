#!/usr/bin/env bash
# compaction.sh: a compacted topic shrinks to near its live size while it is written. A confluent-kafka producer updates few keys many
# times; readers that begin at the start while it writes, at its end, and after the broker was killed with SIGKILL and started again see
# the newest value of each key as of the end they read to. Prints sizes, rates and what the cleaner read and wrote.
#
#   compaction.sh [--updates N] [--keys N] [--rate BYTES] [--binary PATH] [--keep]
#
# 10 million updates of 100,000 keys unless told otherwise; --rate is log.cleaner.io.max.bytes.per.second. Installs the client first and
# builds Yeoul unless --binary names one. Uses a folder of its own under the system's temporary folder and free ports; leaves nothing
# when it passes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have python3 || die "needs python3"
"$COMPAT/clients.sh" install python
case " $* " in
  *" --binary "*) ;;
  *) [ -n "${YEOUL_BINARY:-}" ] || (cd "$ROOT" && cargo build --release --locked --bin yeoul) ;;
esac
exec "${YEOUL_COMPAT_HOME:-$HOME/.cache/yeoul-compat}/python/bin/python" "$COMPAT/compaction.py" "$@"
