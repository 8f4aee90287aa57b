#!/bin/sh
# Compiles and runs the complete programs in the manual at the begin of dijitso.h. usage: manual.sh HEADER LIBRARY WORK
set -eu
header=$1 library=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
export DIJITSO_CACHE_DIR="$work/cache"

# Prints a program of the manual: the lines from the first of it up to the closing brace of main.
program() {
  printf '#include <dijitso.h>\n#include <stdio.h>\n#include <string.h>\n'
  sed 's/^ \*   //; s/^ \*$//' "$header" | awk -v first="$1" \
    'index($0, first) == 1 { on = 1 } on { print } on && /^int main/ { in_main = 1 } in_main && /^}/ { exit }'
}

# run NAME FIRST_LINE: a header with mpi.h is not wanted here.
run() {
  program "$2" > "$work/$1.c"
  "${CC:-cc}" -std=c99 -Wall -Wextra -Werror -DDIJITSO_WITHOUT_MPI -I"$(dirname "$header")" "$work/$1.c" \
    -o "$work/$1" "$library" -Wl,-rpath,"$(dirname "$library")"
  "$work/$1"
}

[ "$(run shortest 'int main')" = 9 ]
run plan 'static int32_t table'
