#!/usr/bin/env bash
# start.sh: builds Yeoul and starts it for trying out: on 127.0.0.1, port 9092, data in ./yeoul-data.
#
#   start.sh [ARGS]      ARGS go to 'yeoul start --dev', for instance: --kafka 127.0.0.1:0
#
# Needs Rust (rustup brings the version that rust-toolchain.toml names), a C compiler and git; as root on a Debian system it
# installs the latter two when they are missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/compat/lib.sh"

case " $* " in *" --help "* | *" -h "*) help_from "$0"; exit ;; esac
have cargo || die "needs Rust: install rustup, then run this again"
if ! have cc || ! have git; then
  # The C compiler builds liburing and zstd; a dependency's build script calls git.
  if [ "$(id -u)" -eq 0 ] && have apt-get; then apt build-essential git || exit 1
  else die "needs a C compiler and git: sudo apt-get install -y build-essential git"; fi
fi
from=$PWD
cd "$ROOT"
cargo build --release --locked --bin yeoul
binary=${CARGO_TARGET_DIR:-$ROOT/target}/release/yeoul
cd "$from"
exec "$binary" start --dev "$@"
