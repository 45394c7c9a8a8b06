#!/usr/bin/env bash
# kill-loop.sh: kills a writing broker with SIGKILL, again and again, on one data folder; after each restart nothing that was
# acknowledged is missing, changed, doubled or moved. The work is done by tests/integration/kill_loop.rs.
#
#   kill-loop.sh [--rounds N] [--seed N]     default: 1,000 rounds with seed 0
#
# 'cargo test' runs 10 rounds of it. A failure prints its seed, which draws the moments of the kills and what is written.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

rounds=1000 seed=0
while [ $# -gt 0 ]; do
  case $1 in
    --rounds | --seed) [ $# -ge 2 ] || die "$1 wants a number" ;;
    --help | -h) help_from "$0"; exit ;;
    *) die "unknown: $1" ;;
  esac
  case $1 in --rounds) rounds=$2 ;; --seed) seed=$2 ;; esac
  shift 2
done
cd "$ROOT"
YEOUL_KILL_ROUNDS=$rounds YEOUL_SEED=$seed exec cargo test --release --locked --test integration \
  kill_loop -- --nocapture
