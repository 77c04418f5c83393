# Sourced: pip's own settings, handed over to uv by environment variables; nothing is printed or stored.

python=.venv/bin/python

# pip's own value of one setting: the environment first, then its configuration files.
setting() {
    value=$(printenv "PIP_$(echo "$1" | tr a-z- A-Z_)") || value=
    for section in install global; do
        [ -n "$value" ] || value=$($python -m pip config get "$section.$1" 2>/dev/null) || value=
    done
    echo $value
}

# Name a set value as uv does; lists are separated by spaces in pip and by $3 in uv.
hand_over() {
    value=$(setting "$1" | tr ' ' "${3:- }")
    [ -z "$value" ] || export "$2=$value"
}

hand_over_settings() {
    hand_over index-url UV_DEFAULT_INDEX
    hand_over extra-index-url UV_INDEX
    hand_over find-links UV_FIND_LINKS ,
    hand_over cert SSL_CERT_FILE
    # pip takes the best match from all of its indexes; so does uv when told to. The lock's hashes decide in either case.
    export UV_INDEX_STRATEGY=unsafe-best-match UV_NO_PROGRESS=1 VIRTUAL_ENV="$PWD/.venv"
    [ -z "${TORCH_INDEX:-}" ] || export UV_INDEX="$TORCH_INDEX${UV_INDEX:+ $UV_INDEX}"
}
