#!/usr/bin/env bash
# Builds on a full disk, a read-only disk, a disk mounted noexec, and in a directory of another user. Each error must say
# what to do next. The mounts are in a mount namespace of this script. Exit status 77: not possible here.
# usage: disks.sh PROGRAM WORK
set -euo pipefail
program=$1 work=$2

skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

if [ -z "${DISKS_INSIDE:-}" ]; then
  [ "$(id -u)" -eq 0 ] || skip "mounting needs root"
  unshare -m true 2> /dev/null || skip "a private mount namespace cannot be made here"
  rm -rf "$work"
  mkdir -p "$work"
  DISKS_INSIDE=1 exec unshare -m --propagation private "$0" "$@"
fi

disk() { # disk NAME OPTIONS: mounts a small disk in memory
  mkdir -p "$work/$1"
  mount -t tmpfs -o "size=256k,mode=0755,$2" tmpfs "$work/$1" || skip "a tmpfs cannot be mounted here"
}

fill() { # fill NAME
  dd if=/dev/zero of="$work/$1/filler" bs=4k 2> /dev/null || true
}

mkdir -p "$work/staging"
cache_error=10 load_error=40

printf '== a full cache\n'
disk full rw
mkdir "$work/full/cache"
fill full
"$program" "$work/full/cache" "$work/staging" $cache_error "$work/full/cache" "No space left on device" "dijitso gc" \
  DIJITSO_CACHE_DIR

printf '== a full staging directory\n'
mkdir "$work/full/staging"
"$program" "$work/cache" "$work/full/staging" $cache_error "$work/full/staging" "No space left on device" \
  cache.temp_dir_root

printf '== a read-only cache\n'
disk readonly rw
mkdir "$work/readonly/cache"
mount -o remount,ro "$work/readonly"
"$program" "$work/readonly/cache" "$work/staging" $cache_error "$work/readonly/cache" "Read-only file system" \
  DIJITSO_CACHE_DIR cache.frozen

printf '== a read-only staging directory\n'
mkdir -p "$work/empty"
"$program" "$work/empty" "$work/readonly" $cache_error "$work/readonly" "Read-only file system" cache.temp_dir_root

printf '== a cache on a disk mounted noexec\n'
disk noexec noexec
"$program" "$work/noexec/cache" "$work/staging" $load_error "$work/noexec/cache" noexec DIJITSO_CACHE_DIR

printf '== private copies on a disk mounted noexec\n'
disk copies noexec
mkdir -m 0755 "$work/renamable" "$work/renamable/cache"
chown 65534 "$work/renamable"
"$program" "$work/renamable/cache" "$work/copies" $load_error "$work/copies" noexec cache.temp_dir_root

printf '== a cache of another user\n'
if command -v setpriv > /dev/null; then
  mkdir -m 0755 "$work/root-owned"
  mkdir -m 1777 "$work/anyone"
  # Only root may be able to read the program and the folders above it.
  cp "$program" "$work/anyone/program"
  if setpriv --reuid=65534 --regid=65534 --clear-groups "$work/anyone/program" > /dev/null 2>&1; [ $? -eq 2 ]; then
    HOME=/nonexistent setpriv --reuid=65534 --regid=65534 --clear-groups "$work/anyone/program" "$work/root-owned/cache" \
      "$work/anyone" $cache_error "$work/root-owned/cache" "Permission denied" DIJITSO_CACHE_DIR
  else
    printf 'not tried: another user cannot run %s\n' "$program"
  fi
fi
