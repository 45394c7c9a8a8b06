#!/usr/bin/env bash
# clients.sh: installs the foreign Kafka clients of the compatibility tests, at the versions pinned in tests/compat/.
#
#   clients.sh install [NAME]...   install these (default: all); what is there already is left alone
#   clients.sh list                one line a client: NAME, then "ready" or "skipped: WHY"
#
# Names: kcat python node go java43 java39 librdkafka. A client whose toolchain this machine has not (Node.js 18, Go 1.26,
# a JDK 17) is named as skipped and why; nothing is left out silently. Exit code 1 only when a named client fails to
# install although its toolchain is there. Home: $YEOUL_COMPAT_HOME, else ~/.cache/yeoul-compat.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RDKAFKA_SYS=4.10.0+2.12.1 # the crate that ships librdkafka's source, with rdkafka_performance
ALL=(kcat python node go java43 java39 librdkafka)

# at_least VERSION COMMAND...: does COMMAND print a version that is not older?
at_least() {
  local wanted=$1 found
  shift
  found=$("$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)*' | head -n 1)
  [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

# absent NAME: prints why this machine cannot have the client (its toolchain is missing), else nothing.
absent() {
  case $1 in
    kcat) have kcat || have apt-get || echo "no apt-get to install kcat with" ;;
    python) have python3 || echo "no python3" ;;
    node) { have npm && at_least 18 node --version; } || echo "no Node.js with npm (18 or newer)" ;;
    go) { have go && at_least 1.26 go env GOVERSION; } || echo "no Go (1.26 or newer)" ;;
    java43 | java39) { have javac && at_least 17 javac --version; } || echo "no JDK (17 or newer)" ;;
    librdkafka) have cargo && have cc && have make || echo "no cargo, C compiler or make" ;;
  esac
}

ready() {
  case $1 in
    kcat) have kcat ;;
    python) up_to_date "$COMPAT_HOME/python" "$CLIENTS/python/requirements.txt" ;;
    node) up_to_date "$COMPAT_HOME/node" "$CLIENTS/node/package.json" ;;
    go) up_to_date "$COMPAT_HOME/go" "$CLIENTS"/go/go.mod "$CLIENTS"/go/*.go ;;
    java43) up_to_date "$COMPAT_HOME/classes-4.3" "$CLIENTS"/java/*.java "$CLIENTS/java/pom-4.3.xml" ;;
    java39) up_to_date "$COMPAT_HOME/classes-3.9" "$CLIENTS"/java/*.java "$CLIENTS/java/pom-3.9.xml" ;;
    librdkafka) [ -x "$COMPAT_HOME/librdkafka-$RDKAFKA_SYS/rdkafka_performance" ] ;;
  esac
}

install_kcat() { have kcat || apt kcat; }

install_python() {
  local at=$COMPAT_HOME/python
  rm -rf "$at"
  python3 -m venv "$at" 2>/dev/null || { apt python3-venv && python3 -m venv "$at"; }
  "$at/bin/pip" install -q --disable-pip-version-check -r "$CLIENTS/python/requirements.txt" >&2
  finish "$at" "$CLIENTS/python/requirements.txt"
}

install_node() {
  local at=$COMPAT_HOME/node
  rm -rf "$at"
  mkdir -p "$at"
  cp "$CLIENTS/node/package.json" "$at/"
  (cd "$at" && npm install --no-audit --no-fund --loglevel=error >&2)
  finish "$at" "$CLIENTS/node/package.json"
}

install_go() {
  local at=$COMPAT_HOME/go
  mkdir -p "$at"
  (cd "$CLIENTS/go" && GOTOOLCHAIN=local go build -buildvcs=false -mod=readonly -o "$at/franz" . >&2)
  finish "$at" "$CLIENTS"/go/go.mod "$CLIENTS"/go/*.go
}

# install_java RELEASE: the jars, and our one program compiled against them.
install_java() {
  local at=$COMPAT_HOME/classes-$1
  jars "$CLIENTS/java/pom-$1.xml" "$COMPAT_HOME/kafka-$1"
  rm -rf "$at"
  mkdir -p "$at"
  javac -nowarn -d "$at" -cp "$COMPAT_HOME/kafka-$1/*" "$CLIENTS"/java/*.java
  finish "$at" "$CLIENTS"/java/*.java "$CLIENTS/java/pom-$1.xml"
}
install_java43() { install_java 4.3; }
install_java39() { install_java 3.9; }

# librdkafka's benchmark client, built from the source that the crate rdkafka-sys carries.
install_librdkafka() {
  local at=$COMPAT_HOME/librdkafka-$RDKAFKA_SYS work=$COMPAT_HOME/librdkafka-build source
  rm -rf "$work" "$at"
  mkdir -p "$work/fetch/src" "$at"
  printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nrdkafka-sys = "=%s"\n[workspace]\n' \
    "$RDKAFKA_SYS" >"$work/fetch/Cargo.toml"
  : >"$work/fetch/src/lib.rs"
  (cd "$work/fetch" && cargo vendor -q "$work/vendor" >/dev/null)
  source=$work/vendor/rdkafka-sys/librdkafka
  [ -d "$source" ] || { warn "the crate rdkafka-sys carries no source of librdkafka"; return 1; }
  (cd "$source" && chmod +x configure mklove/* lds-gen.py 2>/dev/null
    ./configure --disable-ssl --disable-gssapi --disable-curl --disable-zstd --disable-lz4-ext --disable-syslog &&
    make -j2 -C src librdkafka.a && make -C examples rdkafka_performance) >"$work/log" 2>&1 ||
    { warn "librdkafka does not build: see $work/log"; return 1; }
  cp "$source/examples/rdkafka_performance" "$at/"
  rm -rf "$work"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  install)
    [ $# -gt 0 ] || set -- "${ALL[@]}"
    mkdir -p "$COMPAT_HOME"
    failed=0
    for name; do
      [[ " ${ALL[*]} " == *" $name "* ]] || die "no such client: $name (${ALL[*]})"
      why=$(absent "$name")
      if [ -n "$why" ]; then say "skipped $name: $why"; continue; fi
      if ready "$name"; then say "ready   $name"; continue; fi
      # A process of its own: 'set -e' would not hold within a function called from 'if'.
      if "$0" build "$name"; then say "ready   $name (installed now)"; else
        say "failed  $name"
        failed=1
      fi
    done
    exit "$failed"
    ;;
  build) "install_$1" ;; # what 'install' runs, a client at a time
  list)
    for name in "${ALL[@]}"; do
      why=$(absent "$name")
      if [ -n "$why" ]; then say "$name skipped: $why"
      elif ready "$name"; then say "$name ready"
      else say "$name skipped: not installed (scripts/compat/clients.sh install $name)"; fi
    done
    ;;
  help | --help | -h) help_from "$0" ;;
  *) help_from "$0" >&2; exit 2 ;;
esac
