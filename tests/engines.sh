# shellcheck shell=bash
# Functions of the scripts that start a batch system on this machine: tests/slurm/engine and tests/sge/engine.
# Source it after tests/lib.sh.

# No daemon outlives this many seconds, whatever happens to the script that started it.
engine_lifetime=1800

# Prints this many TCP ports on which nothing listens, one a line. The system gives none of them to clients.
free_ports() { # free_ports COUNT
  local found=0 port
  local -A seen=()
  while [ "$found" -lt "$1" ]; do
    port=$((20000 + RANDOM % 12000))
    [ -z "${seen[$port]:-}" ] || continue
    seen[$port]=yes
    if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
      printf '%s\n' "$port"
      found=$((found + 1))
    fi
  done
}

# Waits until a command succeeds.
wait_until() { # wait_until SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

# Starts a daemon that stays in the foreground, and adds its process to DIR/pids.
start_daemon() { # start_daemon DIR COMMAND...
  local dir=$1
  shift
  setsid timeout --kill-after=5 "$engine_lifetime" "$@" > "$dir/${1##*/}.out" 2>&1 < /dev/null &
  printf '%s\n' "$!" >> "$dir/pids"
}

# Ends the processes of DIR/pids in the reverse of their order, those that do not obey by force.
stop_daemons() { # stop_daemons DIR
  local pid pids=()
  [ -e "$1/pids" ] || return 0
  mapfile -t pids < <(tac "$1/pids")
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do
    wait_until 10 not_running "$pid" || kill -KILL -- "-$pid" 2> /dev/null || true
  done
  rm -f "$1/pids"
}

not_running() { ! kill -0 "$1" 2> /dev/null; }
