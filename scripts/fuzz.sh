#!/usr/bin/env bash
# fuzz.sh: lets libFuzzer look for bytes that break the wire codec or the checks of record batches. A seeded, short form of this
# is among the tests (tests/fuzz_codec.rs, src/record/hostile.rs); this one searches on its own and is for long runs. It runs on
# the pinned toolchain, without a sanitizer. Needs a C++ compiler; installs cargo-fuzz if missing.
#
#   fuzz.sh [TARGET [SECONDS]]   TARGET codec (bodies), frame (headers, Produce), batch (records) or all (default);
#                                SECONDS for each, 60 by default
#
# A crash leaves its input under fuzz/artifacts/TARGET, and the exit code is not 0. What was found is kept under fuzz/corpus.
set -euo pipefail

case ${1:-} in --help | -h) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;; esac
target=${1:-all}
seconds=${2:-60}
if [ "$target" = all ]; then
  for target in codec frame batch; do "$0" "$target" "$seconds"; done
  exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

# The golden bodies and real clients' frames are where the search begins.
python3 - "$target" "fuzz/corpus/$target" <<'EOF'
import glob, gzip, json, os, sys

target, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
# The order of the messages in fuzz_targets/codec.rs.
order = [0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 60, 75]
seeds = []
if target == "frame":
    for line in gzip.open("tests/golden/captures.jsonl.gz"):
        seeds.append(bytes.fromhex(json.loads(line)["requestHex"]))
elif target == "batch":
    for line in gzip.open("tests/golden/record-batches.jsonl.gz"):
        seeds.append(bytes.fromhex(json.loads(line)["hex"]))
else:
    for path in glob.glob("tests/golden/vectors/api-*.jsonl.gz"):
        for line in map(json.loads, gzip.open(path)):
            if line["key"] in order:
                choice = 2 * order.index(line["key"]) + (line["kind"] == "response")
                seeds.append(bytes([choice, line["version"]]) + bytes.fromhex(line["hex"]))
for number, seed in enumerate(seeds):
    with open(os.path.join(folder, f"golden-{number}"), "wb") as file:
        file.write(seed)
EOF

# Without a sanitizer it runs on the pinned toolchain: the codec has no unsafe code for one to watch.
cargo fuzz run --sanitizer none "$target" -- "-max_total_time=$seconds" -rss_limit_mb=2048
