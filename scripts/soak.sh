#!/usr/bin/env bash
# soak.sh: a million messages and more between shards that sleep, spin, and are preempted every 500 us; one that never arrives, or
# a wake-up that is lost for 10 s, fails it. The work is done by src/shard/soak_tests.rs; 'cargo test' runs a fiftieth of it.
#
#   soak.sh [SCALE]     SCALE times the short form, 50 by default: about two minutes on 2 cores
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case ${1:-} in
  --help | -h) help_from "$0"; exit ;;
  *[!0-9]*) die "SCALE is a number" ;;
esac
cd "$ROOT"
YEOUL_SOAK=${1:-50} exec cargo test --release --locked --lib soak -- --nocapture --test-threads 1
