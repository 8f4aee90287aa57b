# shellcheck shell=bash
# Functions of the scripts in this folder. Source it with `set -euo pipefail` in force; `work` is the folder of the test,
# `shim` the shim, `program` the program under test.

failures=0
# Counts a failed check. The test goes on, to get the figures of all cases.
fail() { # fail WHAT...
  failures=$((failures + 1))
  printf 'FAILED: %s\n' "$*"
}

# Empties the work folder, and writes a compiler that adds a line to $work/compiles for every library that it links.
new_work() {
  rm -rf "$work"
  mkdir -p "$work/root/cache" "$work/root/tmp" "$work/root/home"
  work=$(cd "$work" && pwd)
  chmod 700 "$work/root/cache"
  : > "$work/compiles"
  cat > "$work/cc" <<END
#!/bin/sh
for argument; do
  if [ "\$argument" = -o ]; then echo "\$*" >> '$work/compiles'; fi
done
exec ${CC:-cc} "\$@"
END
  chmod 755 "$work/cc"
  # Keep the user's settings out.
  export HOME="$work/root/home" TMPDIR="$work/root/tmp"
  unset XDG_RUNTIME_DIR DIJITSO_CACHE_DIR DIJITSO_CONF CXX CC
}

compiles() { wc -l < "$work/compiles"; }
files() { find "$work/root" ! -type d | wc -l; }

# shellcheck disable=SC2154 # set by the script that reads this
# Runs the program under the shim; settings of the shim come first. The shim watches the cache, the folders of builds and
# the compiler slots, but not the config file.
shimmed() { # shimmed [SHIM_X=Y...] -- ARGUMENTS
  local settings=()
  while [ "$1" != -- ]; do
    settings+=("$1")
    shift
  done
  shift
  timeout --kill-after=5 60 env LD_PRELOAD="$shim" SHIM_PROGRAM="$(basename "$program")" \
    SHIM_ROOT="$work/root/cache:$work/root/tmp:$work/root/home/.cache" SHIM_SKIP=access \
    "${settings[@]}" "$program" "$work" "$@"
}

run_plain() { # run_plain ARGUMENTS
  timeout --kill-after=5 60 "$program" "$work" "$@"
}
