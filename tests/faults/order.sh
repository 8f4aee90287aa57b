#!/usr/bin/env bash
# Checks that the data of a file is on the disk before the file gets its name, as power loss demands.
set -euo pipefail

[ $# -eq 3 ] || { echo "usage: order.sh SHIM VICTIM WORK" >&2; exit 2; }
# shellcheck disable=SC2034 # for common.sh
shim=$1 program=$2 work=$3
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# Checks a log of the shim: every file of an entry was synced after its last write and before rename or link gave it its
# name, and no file was written under its final name. Leases and records of compilers need no sync: they may be lost or
# empty after a power loss, and "kill.sh ... power" shows that this does no harm.
check_order() { # check_order LOG CACHE
  awk -v cache="$2/" '
    $4 != 0 { next }
    $3 ~ /^p?write/ || $3 ~ /^(copy_file_range|sendfile|ftruncate)/ { written[$5] = $1; unsynced[$5] = 1 }
    $3 == "fsync" || $3 == "fdatasync" { delete unsynced[$5] }
    $3 ~ /^(rename|link)/ && index($6, cache) == 1 {
      if ($5 in written && substr($6, length(cache) + 1) !~ /^(include|src|lib|log)\//) {
        ++unsynced_files
      } else if ($5 in written) {
        ++published
        if ($5 in unsynced) {
          ++wrong
          print "  operation " $1 ": " substr($6, length(cache) + 1) " is named before it is synced"
        }
      }
      # Track the file under its new name from now on.
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
      print "  " published + 0 " files of entries published, " wrong + 0 " wrong; " unsynced_files + 0 " leases and records"
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
