#!/usr/bin/env bash
# Kills a program, or a job of three ranks, while it compiles: no compiler survives, and the next run removes the files.
# usage: signals.sh PROGRAM WORK [LAUNCHER...]: LAUNCHER ends with the option for the number of ranks
set -euo pipefail

program=$1 work=$2
launcher=("${@:3}")
ranks=1
if [ "${#launcher[@]}" -gt 0 ]; then
  ranks=3
  launcher+=("$ranks")
fi

fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# Prints the numbers of the processes that still run.
running() {
  local file pid
  for file in "$work"/pids/*; do
    pid=${file##*/}
    grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" && printf '%s ' "$pid"
  done
  return 0
}

leftovers() { find "$work" \( -name 'dijitso-*' -prune -o -path '*/lease/*' \) | grep -v '/\.'; }

for signal in INT TERM HUP KILL; do
  rm -rf "$work"
  mkdir -p "$work"
  # Background commands of a shell without a terminal ignore SIGINT, and commands under nohup ignore SIGHUP.
  env --default-signal=INT,QUIT,TERM,HUP "${launcher[@]}" "$program" "$work" slow > "$work/output" 2>&1 &
  job=$!
  for ((i = 0; i < 600; ++i)); do
    [ "$(find "$work/pids" -type f 2> /dev/null | wc -l)" -lt $((2 * ranks)) ] || break
    sleep 0.1
  done
  [ "$(running | wc -w)" -eq $((2 * ranks)) ] || fail "$ranks compilers do not run: $(cat "$work/output")"
  begin=$(date +%s%N)
  target=$job
  # Ranks need not notice that the launcher is killed, so kill a rank.
  if [ "$signal" = KILL ] && [ "$ranks" -gt 1 ]; then
    target=$(pgrep -n -f "^$program $work slow")
  fi
  kill -s "$signal" "$target"
  while [ -n "$(running)" ]; do
    [ $(($(date +%s%N) - begin)) -lt 4000000000 ] || fail "4 s after SIG$signal compilers are left: $(running)"
    sleep 0.02
  done
  printf 'no compiler is left %d ms after SIG%s\n' $((($(date +%s%N) - begin) / 1000000)) "$signal"
  wait "$job" || true
  [ -n "$(leftovers)" ] || fail "nothing was left after SIG$signal, so this run tests nothing"
  timeout --kill-after=5 60 "${launcher[@]}" "$program" "$work" fast || fail "the program after SIG$signal"
  [ -z "$(leftovers)" ] || fail "left after SIG$signal: $(leftovers)"
done
