#!/usr/bin/env bash
# Injects faults at every operation of every scenario, for the figures of docs/reliability.md. ctest runs samples of it.
# usage: all.sh BUILD_DIR_OF_TESTS_C [STEP]; takes about half an hour with STEP 1
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
step=${2:-1}
work="$build/faults/work/all"
failed=0

for scenario in cold nested repair receive broken; do
  for mode in kill power fail full; do
    "$here/kill.sh" "$build/faults/shim.so" "$build/faults/victim" "$work" "$mode" "$scenario" "$step" \
      || failed=$((failed + 1))
  done
done
for mode in names killed broken; do
  "$here/shared_cache.sh" "$build/faults/shared_cache" "$work" "$mode" 20 || failed=$((failed + 1))
done
"$here/order.sh" "$build/faults/shim.so" "$build/faults/victim" "$work" || failed=$((failed + 1))
"$here/nfs.sh" "$build/faults/shim.so" "$build/faults/victim" "$work" || failed=$((failed + 1))
printf '%d of these failed\n' "$failed"
[ "$failed" -eq 0 ]
