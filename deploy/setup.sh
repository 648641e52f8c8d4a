#!/bin/sh
# Writes what the other containers read: the users of Redis, and the signing keys of generation and judging. It runs
# before them and ends. Each file appears when it is whole.
set -eu
folder=${1:-/run/karma}

write() {
  target=$1
  shift
  "$@" >"$target.new"
  mv "$target.new" "$target"
}

umask 022 # Redis has another user, and the file holds hashes only
write "$folder/redis/users.acl" karma acl
umask 077
write "$folder/generation/keys" karma keys generation
write "$folder/judging/keys" karma keys judging
