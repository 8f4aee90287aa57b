#!/usr/bin/env bash
# Records a program on three ranks into plans: cold, warm, and one of what its cache holds. All have the same modules.
# What was recorded is built with other flags, and the program with these flags compiles nothing.
# usage: record.sh PROGRAM COMMAND WORK LAUNCHER...: LAUNCHER ends with the option for the number of ranks
set -euo pipefail

program=$1 command=$2 work=$3
shift 3
rm -rf "$work"
mkdir -p "$work/home"
export HOME="$work/home"
unset XDG_RUNTIME_DIR DIJITSO_CACHE_DIR DIJITSO_CONF CXX CC

fail() { printf 'FAILED: %s\n' "$*"; exit 1; }
labels() { sed -n 's/^label = "\(.*\)"$/\1/p' "$1"; }

for plan in cold warm; do
  timeout --kill-after=5 100 "$command" plan record -o "$work/$plan.toml" -- "$@" 3 "$program" "$work/cache"
done
"$command" --cache-dir "$work/cache" plan from-cache -o "$work/cache.toml" > /dev/null

# Each library is there once, after what it is linked to.
[ "$(labels "$work/cold.toml" | wc -l)" = 7 ] || { cat "$work/cold.toml"; fail "the plan has not 7 modules"; }
for plan in warm cache; do
  diff <(labels "$work/cold.toml" | sort) <(labels "$work/$plan.toml" | sort) || fail "cold.toml and $plan.toml differ"
done
labels "$work/warm.toml" | head -n 2 | tr '\n' ' ' | grep -q '^element_.* form_.* $' || fail "the element is not before the form"
grep -q '^needs = \["element_' "$work/warm.toml" || fail "the form does not need the element"
grep -q '^generator = { degree = 2 }$' "$work/cold.toml" || fail "the plan does not have the parameters"

# Into an empty directory, too, if the sources are in the plan.
"$command" --cache-dir "$work/cache" plan from-cache --embed -o "$work/embedded.toml" > /dev/null
for plan in cold embedded; do
  cache=$work/cache
  [ "$plan" = cold ] || cache=$work/other
  "$command" --cache-dir "$cache" make "$work/$plan.toml" --param "build.cxxflags_append=-DPLAN=$plan"
  timeout --kill-after=5 100 "$@" 3 "$program" "$cache" "-DPLAN=$plan" || fail "$plan.toml has not built everything"
done
