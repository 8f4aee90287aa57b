#!/usr/bin/env bash
# Builds and runs programs without MPI by what pkg-config says, with another compiler than CMake's if it is installed.
# usage: make.sh gfortran|flang LIBRARY WORK
set -euo pipefail
compiler=$1 library=$2 work=$3
here=$(cd "$(dirname "$0")" && pwd)
flags=(-g)

if [ "$compiler" = flang ]; then
  compiler=
  for name in flang-new flang flang-{22,19} flang-new-{19,16}; do
    if command -v "$name" > /dev/null; then compiler=$name; break; fi
  done
  [ -n "$compiler" ] || { echo 'skipped: no flang is installed'; exit 77; }
else
  flags+=(-Wall -std=f2018 -Werror -Wno-unused-dummy-argument)
fi
command -v pkg-config > /dev/null || { echo 'skipped: pkg-config is not installed'; exit 77; }

rm -rf "$work"
mkdir -p "$work"
cd "$work"
libdir=$(dirname "$library")
export PKG_CONFIG_PATH="$libdir/pkgconfig"
read -ra sources <<< "$(pkg-config --variable=sources dijitso-fortran)"
read -ra linked <<< "$(pkg-config --cflags --libs dijitso-fortran) -Wl,-rpath,$libdir ${LDLIBS:-}"
[ "${#sources[@]}" -gt 1 ] || { echo 'pkg-config knows no sources'; exit 1; }
"$compiler" --version
for program in serial stops; do
  "$compiler" "${flags[@]}" "${sources[@]}" "$here/check.f90" "$here/$program.f90" -o "$program" "${linked[@]}"
done
./serial "$work/cache"
if ./stops "$work/cache" > output 2>&1; then
  echo 'an error without stat does not stop the program'
  exit 1
fi
grep 'no form for square' output
