#!/usr/bin/env bash
# differential.sh: Yeoul against the real Apache Kafka 4.3.1: the same generated requests to both, answers field by field.
#
#   differential.sh [--quick] [--seed N] [--rounds N] [--all] [--binary YEOUL] [--driver PROGRAM] [--keep]
#                   starts both on free ports of 127.0.0.1, plays, prints each difference that no row of
#                   tests/compat/differential/differences.tsv explains; exit code 1 if there is one.
#                   --quick: one round of a fixed seed (under a minute beside the start of Kafka); else ten rounds and a seed
#                   of the day, which is printed; --all: also the differences that are explained; --binary and --driver:
#                   programs built before; --keep: leave the brokers' folder
#
# Needs Rust, and a JDK 17 with Maven (see kafka.sh).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=10 seed=$(date +%Y%m%d) all='' binary='' driver='' keep=''
while [ $# -gt 0 ]; do
  case $1 in
    --quick) rounds=1 seed=1 ;;
    --seed) seed=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --all) all=--all ;;
    --binary) binary=$2; shift ;;
    --driver) driver=$2; shift ;;
    --keep) keep=1 ;;
    --help | -h) help_from "$0"; exit ;;
    *) die "unknown: $1" ;;
  esac
  shift
done

target=${CARGO_TARGET_DIR:-$ROOT/target}
if [ -z "$binary" ] || [ -z "$driver" ]; then
  (cd "$ROOT" && cargo build --release --locked --bin yeoul --example differential)
fi
binary=${binary:-$target/release/yeoul} driver=${driver:-$target/release/examples/differential}

work=$(mktemp -d)
yeoul=''
ended() {
  "$COMPAT/kafka.sh" stop --dir "$work/kafka" --kill || true
  if [ -n "$yeoul" ]; then kill "$yeoul" 2>/dev/null && wait "$yeoul" || true; fi
  [ -n "$keep" ] && say "kept: $work" || rm -rf "$work"
}
trap ended EXIT

"$binary" start --data "$work/yeoul" --kafka 127.0.0.1:0 --admin 127.0.0.1:0 --ready-file "$work/ready" \
  --set node.id=1 --set group.initial.rebalance.delay.ms=0 >"$work/yeoul.log" 2>&1 &
yeoul=$!
read -r kafka _ < <("$COMPAT/kafka.sh" start --dir "$work/kafka")
until [ -s "$work/ready" ]; do
  kill -0 "$yeoul" 2>/dev/null || { cat "$work/yeoul.log" >&2; die "Yeoul ended while starting"; }
  read -rt 0.05 <> <(:) || true
done
ours=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["kafka"])' "$work/ready")
say "yeoul $ours, kafka $kafka, seed $seed, rounds $rounds"
"$driver" "$ours" "$kafka" "$CLIENTS/differential/differences.tsv" --seed "$seed" --rounds "$rounds" $all
