# shellcheck shell=bash
# lib.sh: what the scripts beside it share. Sourced, never run.
# Everything that is downloaded or built lies under COMPAT_HOME and nowhere in the tree.

COMPAT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "$COMPAT/../.." && pwd)"
CLIENTS="$ROOT/tests/compat"
COMPAT_HOME="${YEOUL_COMPAT_HOME:-$HOME/.cache/yeoul-compat}"
# Used by the scripts that source this.
export COMPAT ROOT CLIENTS COMPAT_HOME

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { warn "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# help_from SCRIPT: its head comment, without the '#'.
help_from() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1"; }

# up_to_date FOLDER FILE...: was FOLDER finished from exactly these files?
up_to_date() {
  local folder=$1
  shift
  [ -f "$folder/.finished" ] && [ "$(cat "$@" | sha256sum)" = "$(<"$folder/.finished")" ]
}

# finish FOLDER FILE...: remember that FOLDER is complete and what it was made from.
finish() {
  local folder=$1
  shift
  cat "$@" | sha256sum >"$folder/.finished"
}

# apt PACKAGE...: install Debian packages that are missing. Fails when that cannot be done here.
apt() {
  local name missing=() as=()
  for name; do dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' installed$' || missing+=("$name"); done
  [ ${#missing[@]} -eq 0 ] && return
  have apt-get || { warn "needs ${missing[*]} and this system has no apt-get"; return 1; }
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || { warn "run this first: sudo apt-get install -y ${missing[*]}"; return 1; }
    as=(sudo)
  fi
  mkdir -p "$COMPAT_HOME"
  warn "apt-get install ${missing[*]}"
  { "${as[@]}" apt-get -q update && "${as[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends install "${missing[@]}"; } >"$COMPAT_HOME/apt.log" 2>&1 ||
    { warn "apt-get could not install ${missing[*]}: see $COMPAT_HOME/apt.log"; return 1; }
}

# jars POM FOLDER: the jars that POM names, with all that they need, in FOLDER.
jars() {
  up_to_date "$2" "$1" && return
  have mvn || apt maven || return 1
  rm -rf "$2"
  mkdir -p "$2"
  mvn -B -q -f "$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2" >"$2.log" 2>&1 ||
    { warn "Maven could not bring the jars of ${1##*/}: see $2.log"; return 1; }
  finish "$2" "$1"
}
