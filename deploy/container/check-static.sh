#!/bin/sh
# check-static BINARY: it is a static position-independent executable, and it runs with nothing around it.
set -eu
binary=$1
headers=$(readelf --file-header --program-headers --dynamic --wide "$binary")
fail() {
  echo "$binary: $1" >&2
  exit 1
}
case $headers in *'Type:'*'DYN '*) ;; *) fail "its address is fixed, so nothing randomises it" ;; esac
case $headers in *INTERP*) fail "it asks for a dynamic loader" ;; esac
case $headers in *'(NEEDED)'*) fail "it asks for shared libraries" ;; esac
case $headers in *'(FLAGS_1)'*PIE*) ;; *) fail "it is no position-independent executable" ;; esac
env -i "$binary" --version
