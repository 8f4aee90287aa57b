#!/usr/bin/env bash
# usage: integers.sh COMPILER SOURCES WORK
set -euo pipefail
compiler=$1 sources=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work"
cd "$work"

refused() { # refused TEXT COMMAND...
  local text=$1
  shift
  if "$@" > output 2>&1; then
    echo "accepted: $*"
    exit 1
  fi
  grep -q "$text" output || { cat output; echo "the refusal does not say: $text"; exit 1; }
}

"$compiler" -c -std=f2018 -Wall -Werror -I "$sources/include" "$here/include_free.f90"
# gfortran shows the place, and not the line, of an error in an included file. The sentence stands above the line.
refused 'dijitsof.h:10:' "$compiler" -c -fdefault-integer-8 -I "$sources/include" "$here/include_free.f90"
"$compiler" -c -fdefault-integer-8 "$sources/src/dijitso_c.f90"
refused dijitso_needs_4_byte_integers_so_remove_fdefault_integer_8 \
  "$compiler" -c -fdefault-integer-8 "$sources/src/dijitso_errors.f90"
