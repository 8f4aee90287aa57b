#!/usr/bin/env bash
# A bundle made of one cache, imported into an empty directory at another path, serves ranks without a compiler.
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
# Nothing points back.
mv "$work/mine" "$work/gone"

"$command" --cache-dir "$work/other/place" import "$work/bundle.tar"
ranks "$work/other/place" serve

# Only rank 0 has it, whose compiler, or what is known of it, all ranks sign with.
"$command" --cache-dir "$work/own/0" import "$work/bundle.tar" > /dev/null
ranks "$work/own" own

# What a bundle brought can be looked at without the compiler, too.
why=$(PATH=/nonexistent "$command" --cache-dir "$work/other/place" why one --param build.cxxflags_opt=-O0 --param cache.frozen=true)
case $why in
  *"is a hit"*) ;;
  *) printf 'FAILED: why says: %s\n' "$why"; exit 1 ;;
esac

# The command under mpiexec: one report, from rank 0, and nothing left.
report=$(timeout --kill-after=5 100 "$launcher" "${options[@]}" 2 "$command" --cache-dir "$work/none" doctor --ranks || true)
[ "$(grep -c '2 ranks on 1 host, with 1 cache directory' <<< "$report")" = 1 ] \
  || { printf 'FAILED: doctor says:\n%s\n' "$report"; exit 1; }
[ ! -e "$work/none" ] || { echo "FAILED: doctor has left a cache"; exit 1; }
