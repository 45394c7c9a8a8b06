#!/usr/bin/env bash
# test.sh: the gate. Installs what the tests need, then: formatting, lints, documentation, all tests (the short kill loop is one
# of them); short runs of the demo, of groups and transactions of foreign clients, of Kafka's tools, Connect, Streams and
# MirrorMaker 2, of the examples, of compaction, and of each bench; Kafka's tools and one round of the differential test beside
# the real Kafka. Each step is named with the time it took; the first that fails ends it. A foreign client whose toolchain this
# machine has not is named as skipped.
#
#   test.sh             everything (within 40 minutes on 2 cores from a clean checkout)
#   test.sh STEP...     only these: format lint docs test scripts demo groups transactions tools alike differential connect streams
#                       mirror examples compaction bench
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

STEPS=(format lint docs test scripts demo groups transactions tools alike differential connect streams mirror examples compaction bench)

tools() {
  have cargo || die "needs Rust: install rustup"
  if ! have cc || ! have git; then apt build-essential git; fi
  have python3 || apt python3 python3-venv python3-pip
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}

step_format() {
  cargo fmt --check
  rustfmt --check --edition 2024 --config-path "$ROOT" "$COMPAT/driver.rs"
}

step_lint() { cargo clippy --locked --all-targets -- -D warnings; }

step_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items; }

# With the brokers of the tests on 1, 2 and 5 shards mixed; then on as many each, and on more than there are cores.
step_test() {
  local shards
  cargo test --locked
  for shards in 1 2 $(($(nproc) + 3)); do
    YEOUL_TEST_SHARDS=$shards cargo test --locked --test integration
  done
}

# The scripts parse, and say what they do.
step_scripts() {
  local script
  for script in "$ROOT"/scripts/*.sh "$COMPAT"/*.sh; do bash -n "$script"; done
  if have shellcheck; then shellcheck -x -P SCRIPTDIR "$ROOT"/scripts/*.sh "$COMPAT"/*.sh; fi
  python3 - "$COMPAT"/*.py "$CLIENTS"/python/*.py "$ROOT"/examples/*/*.py <<'EOF'
import ast, sys
for path in sys.argv[1:]:
    ast.parse(open(path).read(), path)
EOF
}

# on_release SCRIPT ARGS...: one of the scripts beside this, on a release build.
on_release() {
  cargo build --release --locked --bin yeoul
  "$ROOT/scripts/$1.sh" "${@:2}" --binary "$TARGET/release/yeoul"
}

# on_jdk SCRIPT ARGS...: the same, of a script that is nothing without a JDK.
on_jdk() {
  local why
  why=$("$COMPAT/clients.sh" list | sed -n '/not installed/d; s/^java43 skipped: //p')
  if [ -n "$why" ]; then say "$1: skipped: $why"; else on_release "$@"; fi
}

step_demo() { on_release demo --quick; }
step_groups() { on_release groups --records 8000; }
step_transactions() { on_release transactions --records 3000; }
step_tools() { on_jdk tools; }
step_alike() { on_jdk tools --alike; }
step_differential() {
  cargo build --locked --example differential
  on_jdk compat/differential --quick --driver "$TARGET/debug/examples/differential"
}
step_connect() { on_jdk connect --lines 3000 --exactly-once; }
step_streams() { on_jdk streams --lines 3000; }
step_mirror() { on_jdk mirror --records 3000; }
step_examples() { on_release examples; }
step_compaction() { on_release compaction --updates 500000 --keys 5000; }

# No figures are drawn from this: it shows that the benches run.
step_bench() {
  cargo bench --locked --benches -- --test
  "$ROOT/scripts/bench.sh" peers --quick --sides yeoul --binary "$TARGET/release/yeoul" --out "$TARGET/bench-smoke.jsonl"
}

case ${1:-} in --help | -h) help_from "$0"; exit ;; esac
cd "$ROOT"
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
[ $# -gt 0 ] || set -- "${STEPS[@]}"
tools
whole=$SECONDS
for step; do
  declare -F "step_$step" >/dev/null || die "no such step: $step (${STEPS[*]})"
  say "== $step"
  began=$SECONDS
  # Called plainly, so that 'set -e' holds within it.
  "step_$step"
  say "== $step: passed in $((SECONDS - began)) s"
done
say "== all of: $* passed in $((SECONDS - whole)) s"
