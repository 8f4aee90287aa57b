#!/usr/bin/env bash
# Power loss: what a file holds has to be on the disk before the file gets its name.
set -euo pipefail

[ $# -eq 3 ] || { echo "usage: order.sh SHIM VICTIM WORK" >&2; exit 2; }
# shellcheck disable=SC2034 # for common.sh
shim=$1 program=$2 work=$3
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# Reads a log of the shim. Every file of an entry that gets a name by rename or link was synced after its last write; no
# file is written under a name that others look for. Leases and notes (of what a compiler said of itself, say) may be lost
# or empty after a power loss and are not waited for: "kill.sh ... power" shows that this does no harm.
check_order() { # check_order LOG CACHE
  awk -v cache="$2/" '
    $4 != 0 { next }
    $3 ~ /^p?write/ || $3 ~ /^(copy_file_range|sendfile|ftruncate)/ { written[$5] = $1; unsynced[$5] = 1 }
    $3 == "fsync" || $3 == "fdatasync" { delete unsynced[$5] }
    $3 ~ /^(rename|link)/ && index($6, cache) == 1 {
      if ($5 in written && substr($6, length(cache) + 1) !~ /^(include|src|lib|log)\//) {
        ++notes
      } else if ($5 in written) {
        ++published
        if ($5 in unsynced) {
          ++wrong
          print "  operation " $1 ": " substr($6, length(cache) + 1) " is named before it is synced"
        }
      }
      # From now on it is known by its new name, for one that is written later.
      if ($5 in unsynced) unsynced[$6] = 1; else delete unsynced[$6]
    }
    $3 ~ /write/ && index($5, cache) == 1 {
      rest = substr($5, length(cache) + 1)
      if (rest ~ /^(include|src|lib|log|toolchain)\/[^.]/) {
        ++wrong
        print "  operation " $1 ": " rest " is written under its final name"
      }
    }
    END {
      print "  " published + 0 " files of entries published, " wrong + 0 " wrong; " notes + 0 " leases and notes"
      exit wrong > 0 || published == 0
    }' "$1"
}

new_work
: > "$work/log"
for scenario in plain nested send; do
  echo "$scenario:"
  : > "$work/log"
  shimmed SHIM_LOG="$work/log" -- "$scenario" "$scenario"
  check_order "$work/log" "$work/root/cache" || fail "$scenario: not in order"
done
echo "receive:"
rm -rf "$work/root/cache"
mkdir -m 700 "$work/root/cache"
: > "$work/log"
shimmed SHIM_LOG="$work/log" -- receive send
check_order "$work/log" "$work/root/cache" || fail "receive: not in order"
[ "$failures" -eq 0 ]
