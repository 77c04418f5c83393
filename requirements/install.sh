#!/bin/sh
# Put one locked set (serving, training or dev) into .venv: with uv where it can be had, else with pip.
# usage: requirements/install.sh serving|training|dev
set -eu

. requirements/settings.sh
lock=requirements/$1.txt

make_venv() {
    ${PYTHON:-python3} -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2
        exit 1
    }
    ${PYTHON:-python3} -m venv .venv || {
        rm -rf .venv
        echo "python3 -m venv failed; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
}

install_with_uv() {
    hand_over_settings
    .venv/bin/uv pip install --quiet -r "$lock" &&
        .venv/bin/uv pip install --quiet --no-deps -e .
}

# torch has no hash in the lock, and pip wants all or none; torch comes first, so that pip does not look for another one.
install_with_pip() {
    [ -z "${TORCH_INDEX:-}" ] || export PIP_EXTRA_INDEX_URL="$TORCH_INDEX $(setting extra-index-url)"
    sed -e '/^ *--hash=/d' -e 's/ \\$//' "$lock" >.venv/lock.txt
    torch=$(grep '^torch==' .venv/lock.txt) || torch=
    [ -z "$torch" ] || $python -m pip install --quiet "$torch"
    $python -m pip install --quiet -r .venv/lock.txt
    $python -m pip install --quiet --no-deps -e .
}

[ -x $python ] || make_venv
echo "Installing $lock into .venv (the first time takes minutes, the next none)"
[ -x .venv/bin/uv ] || $python -m pip install --quiet --disable-pip-version-check uv ||
    echo "uv cannot be had here; pip takes longer" >&2
{ [ -x .venv/bin/uv ] && install_with_uv; } || install_with_pip

# A larger set holds the smaller ones, at the same versions.
case $1 in
    dev) touch .venv/.stamp-serving .venv/.stamp-training ;;
    training) touch .venv/.stamp-serving ;;
esac
touch ".venv/.stamp-$1"
