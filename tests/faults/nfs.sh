#!/usr/bin/env bash
# Runs programs on a directory that gives stale answers, as network disks do (SHIM_NFS in shim.c). All must succeed.
set -euo pipefail

usage() {
  cat <<'END'
usage: nfs.sh SHIM VICTIM WORK                         two independent programs, several times
       nfs.sh SHIM NFS_RANKS WORK MPIEXEC [ARGUMENTS]  ranks, cold and warm
END
}
[ $# -ge 3 ] || { usage >&2; exit 2; }
# shellcheck disable=SC2034 # for common.sh
shim=$1 program=$2 work=$3
launcher=("${@:4}")
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

run() { # run SETTING ARGUMENTS: runs one program, or one on each rank
  local setting=$1
  shift
  timeout --kill-after=5 100 "${launcher[@]}" env LD_PRELOAD="$shim" SHIM_PROGRAM="$(basename "$program")" \
    SHIM_ROOT="$work/root/cache" SHIM_SKIP=access SHIM_NFS=1 "$setting" SHIM_LOG="$work/log" "$program" "$work" "$@"
}

independent() { # independent SETTING SCENARIO
  local processes=() process status number
  for number in 1 2; do
    run "$1" "$2" "$2" good > "$work/output-$number" 2>&1 &
    processes+=($!)
  done
  number=0
  for process in "${processes[@]}"; do
    number=$((number + 1))
    status=0
    wait "$process" || status=$?
    [ "$status" -eq 0 ] || fail "$1, $2: process $number ends with $status: $(cat "$work/output-$number")"
  done
}

new_work
# MPIs put sockets into TMPDIR, and paths of sockets must be short.
[ ${#launcher[@]} -eq 0 ] || unset TMPDIR
for setting in SHIM_NFS_LOCKS=lie SHIM_NFS_LOCKS=none; do
  rm -rf "$work/root"
  mkdir -p "$work/root/tmp"  # on a local disk
  if [ ${#launcher[@]} -gt 0 ]; then
    for phase in cold warm; do run "$setting" "$phase" || fail "$setting, $phase"; done
  else
    run_plain plain good
    for scenario in plain nested broken; do
      independent "$setting" "$scenario"
      independent "$setting" "$scenario"
    done
    # Without the shim the entries are valid.
    for scenario in plain nested; do run_plain "$scenario" "$scenario" good || fail "$setting, $scenario: afterwards"; done
  fi
done
[ -s "$work/log" ] || fail "the shim has seen nothing"
printf '%d operations, %d failures\n' "$(wc -l < "$work/log")" "$failures"
[ "$failures" -eq 0 ]
