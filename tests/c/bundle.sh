#!/usr/bin/env bash
# Exports a cache as a bundle, imports it into an empty directory at another path, and runs ranks on it without a compiler.
# usage: bundle.sh PROGRAM COMMAND WORK LAUNCHER...: LAUNCHER ends with the option for the number of ranks
set -euo pipefail

program=$1 command=$2 work=$3
shift 3
rm -rf "$work"
mkdir -p "$work/home"
export HOME="$work/home"
unset XDG_RUNTIME_DIR DIJITSO_CACHE_DIR DIJITSO_CONF CXX CC

ranks() { timeout --kill-after=5 60 "$launcher" "${options[@]}" 4 "$program" "$@"; }
launcher=$1
options=("${@:2}")

ranks "$work/mine" fill
"$command" --cache-dir "$work/mine" export --all --output "$work/bundle.tar"
# The imported cache must not refer to the original path.
mv "$work/mine" "$work/gone"

"$command" --cache-dir "$work/other/place" import "$work/bundle.tar"
ranks "$work/other/place" serve

# Only rank 0 has the bundle. All ranks sign with rank 0's record of the compiler.
"$command" --cache-dir "$work/own/0" import "$work/bundle.tar" > /dev/null
ranks "$work/own" own

# `dijitso why` works on imported entries without the compiler.
why=$(PATH=/nonexistent "$command" --cache-dir "$work/other/place" why one --param build.cxxflags_opt=-O0 --param cache.frozen=true)
case $why in
  *"is a hit"*) ;;
  *) printf 'FAILED: why says: %s\n' "$why"; exit 1 ;;
esac

# The command under mpiexec prints one report, from rank 0, and leaves no files.
report=$(timeout --kill-after=5 100 "$launcher" "${options[@]}" 2 "$command" --cache-dir "$work/none" doctor --ranks || true)
[ "$(grep -c '2 ranks on 1 host, with 1 cache directory' <<< "$report")" = 1 ] \
  || { printf 'FAILED: doctor says:\n%s\n' "$report"; exit 1; }
[ ! -e "$work/none" ] || { echo "FAILED: doctor has left a cache"; exit 1; }
