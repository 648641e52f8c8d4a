#!/usr/bin/env bash
# Write what the images install anew, with hashes: SERVICE.txt for each image, and build.txt for what builds KARMA's wheel.
# The versions are those of constraints.txt. torch is left out: its CPU build is a local wheel (PIP_FIND_LINKS names its
# folder), so that none of the packages of CUDA are pulled in.
set -euo pipefail
cd "$(dirname "$0")/../.."

compile() { # NAME and the arguments of `uv pip compile`
  local name=$1
  shift
  UV_FIND_LINKS=${PIP_FIND_LINKS:-} .venv/bin/uv pip compile --quiet --upgrade --python-version 3.11 --constraints constraints.txt \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-emit-package torch \
    "$@" --output-file "deploy/requirements/$name.txt"
  echo "deploy/requirements/$name.txt"
}

for service in gateway scoring matching generation judging cli generation-local judging-local; do
  more=(--extra traces)
  case $service in gateway | scoring | cli) more+=(--extra prices) ;; esac # these reckon in money
  compile "$service" pyproject.toml --extra "$service" "${more[@]}"
done
echo hatchling | compile build -
if grep --quiet --extended-regexp '^(nvidia|triton|torch)' deploy/requirements/*.txt; then
  echo "packages of CUDA are among them: set PIP_FIND_LINKS to a folder with the CPU build of torch" >&2
  exit 1
fi
