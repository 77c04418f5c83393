#!/bin/sh
# Resolve pyproject.toml's extras again into requirements/*.txt; needs uv in .venv. Called by `make lock`.
# What is there is kept; UPGRADE=1 takes the newest that pyproject.toml allows.
set -eu
. requirements/settings.sh

compile() {
    name=$1
    shift
    .venv/bin/uv pip compile --quiet ${UPGRADE:+--upgrade} --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "make lock" "$@" pyproject.toml -o "requirements/$name.txt"
    any_build_of_torch "requirements/$name.txt"
}

# A machine may hold another build of torch than the index does (for the CPU, for a GPU): its version is locked, its hash
# is not, and what a GPU build needs besides comes with that build.
any_build_of_torch() {
    awk '/^[a-z]/ { skip = /^(nvidia-|cuda-|triton==)/ && !/^nvidia-ml-py/; torch = /^torch==/ }
         torch { sub(/[+][a-z0-9.]+/, ""); sub(/ *\\$/, "") }
         skip || (torch && /^ *--hash=/) { next }
         { print }' "$1" >"$1.new"
    mv "$1.new" "$1"
}

hand_over_settings
compile serving --extra serving
compile training --extra serving --extra training -c requirements/serving.txt
compile bench --extra serving --extra postgresql --extra training --extra bench -c requirements/training.txt
compile dev --extra serving --extra postgresql --extra training --extra dev -c requirements/training.txt
