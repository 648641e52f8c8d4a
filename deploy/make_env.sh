#!/bin/sh
# Makes the file .env with new passwords and a new signing key, for docker-compose.yml: sh deploy/make_env.sh
# A file that exists is left as it is. You may change each value; keep the single quotes around it.
set -eu
file=${1:-.env}
if [ -e "$file" ]; then
  echo "make_env: $file exists and is left as it is" >&2
  exit 1
fi

random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

umask 077
{
  echo "# Secrets of docker-compose.yml. Whoever can read this file can do everything that KARMA can."
  for name in KARMA_SIGNING_KEY POSTGRES_PASSWORD KARMA_DATABASE_PASSWORD; do
    echo "$name='$(random)'"
  done
  for user in GATEWAY GENERATION SCORING MATCHING JUDGING PAGE CLI ADMIN; do
    echo "KARMA_REDIS_PASSWORD_$user='$(random)'"
  done
} >"$file"
echo "make_env: wrote $file" >&2
