#!/usr/bin/env bash
# Runs independent processes that share a cache: each library is compiled once.
set -euo pipefail

usage() {
  cat <<'END'
usage: shared_cache.sh PROGRAM WORK MODE [REPETITIONS]
  MODE  names   32 processes ask for 8 names, each in an order of its own: 8 compiler runs
        killed  kill -9 of the process that builds, while its compiler runs: the others take over at once
        broken  8 processes with a wrong source: one compiler run, the same diagnostics for all; a correct one is built
END
}
[ $# -ge 3 ] || { usage >&2; exit 2; }
program=$1 work=$2 mode=$3 repetitions=${4:-1}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

processes=()
start() { # start NUMBER ARGUMENTS: runs in the background; output in $work/output-NUMBER, log in $work/messages-NUMBER
  local number=$1
  shift
  timeout --kill-after=5 100 "$program" "$work" "$@" > "$work/output-$number" 2> "$work/messages-$number" &
  processes[number]=$!
}
finish() { # finish CASE: waits for all processes, which must succeed
  local number status
  for number in "${!processes[@]}"; do
    status=0
    wait "${processes[number]}" || status=$?
    [ "$status" -eq 0 ] || fail "$1: process $number ends with $status: $(cat "$work/output-$number" "$work/messages-$number")"
  done
  processes=()
}
# The processes wait while this shell holds the lock.
close_gate() { exec 9> "$work/gate"; flock -x 9; }
open_gate() { flock -u 9; exec 9>&-; }
expect_compiles() { # expect_compiles NUMBER WHAT
  [ "$(compiles)" -eq "$1" ] || fail "$2: $(compiles) compiler runs instead of $1"
}

# Makes the compiler slow, so that all processes ask while it runs.
slow_down() {
  # shellcheck disable=SC2016 # expanded by the compiler script
  sed -i "s|^exec|for argument; do if [ \"\$argument\" = -o ]; then sleep $1; fi; done\\nexec|" "$work/cc"
}

names() {
  local i
  new_work
  slow_down 0.05
  close_gate
  for ((i = 0; i < 32; ++i)); do start "$i" names 8 "$i"; done
  sleep 0.2
  open_gate
  finish names
  expect_compiles 8 names
}

killed() {
  local victim begin seconds i
  new_work
  # The first compiler run hangs, and the process that waits for it is killed.
  cat > "$work/cc" <<END
#!/bin/sh
for argument; do
  if [ "\$argument" = -o ]; then
    echo "\$PPID \$\$" >> '$work/compiles'
    if [ ! -e '$work/hung' ]; then : > '$work/hung'; exec sleep 60; fi
  fi
done
exec cc "\$@"
END
  "$program" "$work" names 1 0 > "$work/output-victim" 2>&1 &
  victim=$!
  for ((i = 0; i < 200 && $(compiles) == 0; ++i)); do sleep 0.05; done
  for ((i = 0; i < 8; ++i)); do start "$i" names 1 0; done
  sleep 0.5
  expect_compiles 1 "while the first one compiles"
  begin=$(date +%s)
  kill -KILL "$victim"
  wait "$victim" 2> /dev/null || true
  finish killed
  seconds=$(($(date +%s) - begin))
  [ "$seconds" -le 20 ] || fail "killed: the others took over after $seconds s"
  expect_compiles 2 killed
  # The compiler of the dead process may still run.
  kill -KILL "$(awk 'NR == 1 {print $2}' "$work/compiles")" 2> /dev/null || true
}

broken() {
  local i
  new_work
  slow_down 0.2
  close_gate
  for ((i = 0; i < 8; ++i)); do start "$i" broken; done
  sleep 0.2
  open_gate
  finish broken
  expect_compiles 1 broken
  for ((i = 1; i < 8; ++i)); do
    cmp -s "$work/output-0" "$work/output-$i" || fail "broken: process $i has another error than process 0:" \
      "$(diff "$work/output-0" "$work/output-$i" | head -n 4)"
  done
  start 8 fixed
  finish fixed
  expect_compiles 2 fixed
}

for ((repetition = 0; repetition < repetitions; ++repetition)); do "$mode"; done
printf '%s: %d repetitions, %d failures\n' "$mode" "$repetitions" "$failures"
[ "$failures" -eq 0 ]
