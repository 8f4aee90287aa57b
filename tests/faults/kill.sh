#!/usr/bin/env bash
# Kills a program at each of its file operations, or makes the operation fail, and checks the cache afterwards.
set -euo pipefail

usage() {
  cat <<'END'
usage: kill.sh SHIM VICTIM WORK MODE SCENARIO [STEP]
  MODE      kill   kill -9 before each operation, after the last one, and in the middle of each write
            power  kill -9 before each operation, with the loss of all data that was not synced
            fail   each operation fails once, with EIO, ENOSPC or ESTALE in turn
            full   the disk is full from each operation on
  SCENARIO  nested, plain, receive, broken as in victim.c, with another entry in the cache; cold: nested, with nothing
            in the cache; repair: nested, with a damaged library in the cache
  STEP      only every STEP-th operation, for a quick run
END
}
[ $# -ge 5 ] || { usage >&2; exit 2; }
shim=$1 program=$2 work=$3 mode=$4 scenario=$5 step=${6:-1}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

case $scenario in
  repair | cold) call=(nested victim) ;;
  *) call=("$scenario" victim) ;;
esac
good=(good)
[ "$scenario" != cold ] || good=()

# Saves the state before each run in $work/before: an entry "good" of an earlier build, and the files of the scenario.
prepare() {
  new_work
  [ "$scenario" = cold ] || run_plain plain good
  case $scenario in
    receive)
      cp -a "$work/root" "$work/receiver"
      run_plain send victim
      rm -rf "$work/root"
      mv "$work/receiver" "$work/root"
      ;;
    repair)
      run_plain nested victim
      truncate --size=-100 "$work"/root/cache/lib/libdijitso-victim_[!i]*.so
      ;;
  esac
  cp -a "$work/root" "$work/before"
}

reset() {
  rm -rf "$work/root"
  cp -a "$work/before" "$work/root"
  : > "$work/compiles"
}

# Runs the program without a shim: it must get the right result, find the good entry, and compile at most once more.
recover() { # recover CASE
  local status=0 count
  run_plain "${call[@]}" "${good[@]}" > "$work/output" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    fail "$1: the next run ends with $status: $(cat "$work/output")"
    broken=$((broken + 1))
    mkdir -p "$work/kept"
    cp -a "$work/root" "$work/kept/$1" 2> /dev/null || true
  fi
  count=$(compiles)
  if [ "$count" -gt $((clean_compiles + 1)) ]; then
    fail "$1: $count compiler runs instead of $clean_compiles or one more"
  fi
  [ "$count" -le "$most_compiles" ] || most_compiles=$count
  count=$(files)
  [ "$count" -le "$most_files" ] || most_files=$count
  # One dead process can leave a staging folder with source, header and library, and a few staged files.
  if [ "$count" -gt $((clean_files + 12)) ]; then
    fail "$1: $count files are left, after a run without faults $clean_files"
  fi
}

prepare
reset
shimmed SHIM_LOG="$work/log" -- "${call[@]}" > "$work/output" 2>&1 || { cat "$work/output"; exit 1; }
number=$(wc -l < "$work/log")
[ "$number" -gt 10 ] || { echo "the shim has seen only $number operations"; exit 1; }
clean_compiles=$(compiles)
clean_files=$(files)
most_compiles=0 most_files=0 broken=0 runs=0 unreached=0 returned=0 worked=0

run_killed() { # run_killed CASE SETTINGS...: runs the program until the shim kills it
  local what=$1 status=0
  shift
  reset
  shimmed "$@" -- "${call[@]}" > "$work/output" 2>&1 || status=$?
  runs=$((runs + 1))
  case $status in
    137) ;;
    0) unreached=$((unreached + 1)) ;; # the operation was not reached this time
    *) fail "$what: ended with $status before it was killed: $(cat "$work/output")" ;;
  esac
  recover "$what"
}

run_failing() { # run_failing CASE SETTING: runs the program while operations fail
  local status=0
  reset
  shimmed "$2" -- "${call[@]}" > "$work/output" 2>&1 || status=$?
  runs=$((runs + 1))
  case $status in
    0) worked=$((worked + 1)) ;;
    2) returned=$((returned + 1)) ;;
    *) fail "$1: ended with $status: $(cat "$work/output")" ;;
  esac
  recover "$1"
}

errors=(EIO ENOSPC ESTALE)
mapfile -t names < <(awk '{print $3}' "$work/log")
for ((k = 1; k <= number; k += step)); do
  case $mode in
    kill)
      run_killed "kill-$k" SHIM_KILL="$k"
      case ${names[k - 1]} in
        write | pwrite* | copy_file_range | sendfile*) run_killed "kill-in-$k" SHIM_KILL="$k~" ;;
      esac
      [ "$k" -lt "$number" ] || run_killed "kill-after-$k" SHIM_KILL="$k+"
      ;;
    power) run_killed "power-$k" SHIM_KILL="$k" SHIM_POWER=1 ;;
    fail) for error in "${errors[@]}"; do run_failing "$error-$k" SHIM_FAIL="$k:$error"; done ;;
    full) run_failing "full-$k" SHIM_FAIL="$k-:ENOSPC" ;;
    *) usage >&2; exit 2 ;;
  esac
done

# Kills many runs in one cache, each with another name: the next build removes the leftovers.
left=-
if [ "$mode" = kill ] && [ "$scenario" != repair ] && [ "$scenario" != receive ]; then
  reset
  for ((k = 1; k <= number; k += 3 * step)); do
    shimmed SHIM_KILL="$k" -- "${call[0]}" "again_$k" > /dev/null 2>&1 || true
  done
  run_plain plain last "${good[@]}" > "$work/output" 2>&1 || fail "after all: $(cat "$work/output")"
  left=$(find "$work/root/tmp" "$work/root/cache" -mindepth 1 \( -path "$work/root/tmp/*" -o -name '.staged*' \) | wc -l)
  if [ "$left" -gt 3 ]; then
    fail "$left leftovers of dead processes after the next build:"
    find "$work/root/tmp" "$work/root/cache" -mindepth 1 \( -path "$work/root/tmp/*" -o -name '.staged*' \) | head -n 5
  fi
fi

printf '%s, %s: %d operations, %d runs (%d not reached' "$mode" "$scenario" "$number" "$runs" "$unreached"
case $mode in fail | full) printf '; %d returned an error, %d succeeded' "$returned" "$worked" ;; esac
printf '); %d wrong afterwards; compiler runs: %d, at most %d; files: %d, at most %d; leftovers in the end: %s\n' \
  "$broken" "$clean_compiles" "$most_compiles" "$clean_files" "$most_files" "$left"
[ "$failures" -eq 0 ]
