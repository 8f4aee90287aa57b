#!/bin/sh
# Checks that the library exports exactly the functions of the header, has the SONAME of its ABI, and that
# null_arguments.c calls each function. usage: exports.sh HEADER LIBRARY SONAME NULL_ARGUMENTS_C
set -eu
header=$1 library=$2 soname=$3 null_arguments=$4
status=0

# Remove comments, which may contain calls. Includes and conditions stay.
declared=$("${CC:-cc}" -w -fpreprocessed -dD -E -P "$header" | tr '\n' ' ' |
  grep -oE '\bdijitso_[a-z_]+ *\([^()]*\) *;' | sed 's/ *(.*//' | sort -u)
exported=$(nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ {print $3}' | sort -u)
if [ "$declared" != "$exported" ]; then
  echo "declared in the header:" "$declared" "exported by the library:" "$exported" >&2
  status=1
fi
if ! readelf -d "$library" | grep -q "SONAME.*\[$soname\]"; then
  echo "the SONAME is not $soname:" >&2
  readelf -d "$library" | grep SONAME >&2
  status=1
fi
for name in $declared; do
  if ! grep -q "$name(" "$null_arguments"; then
    echo "$name is not tried with NULL in $null_arguments" >&2
    status=1
  fi
done
echo "$(echo "$exported" | wc -l) functions"
exit $status
