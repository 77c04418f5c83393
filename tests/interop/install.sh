#!/bin/sh
# Install the Debian packages of a list, packages.txt beside this if none is named, that are missing.
set -eu

missing=
for package in $(cat "${1:-$(dirname "$0")/packages.txt}"); do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Otherwise a Postfix of the whole machine's would be set up and started.
case $missing in *postfix*) echo "postfix postfix/main_mailer_type select No configuration" | $as_root debconf-set-selections ;; esac
$as_root apt-get update -qq
# Postfix would ask what it is for; it is only started by tests, with a configuration of their own.
case " $missing " in *" postfix "*)
    echo "postfix postfix/main_mailer_type select No configuration" | $as_root debconf-set-selections ;;
esac
$as_root apt-get install -y -qq --no-install-recommends $missing
