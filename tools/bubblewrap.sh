#!/usr/bin/env bash
# Generated code runs in bubblewrap or not at all. It is a system package: install it where we may, else say how.
set -euo pipefail
command -v bwrap >/dev/null && exit 0

install=""
for manager in apt-get dnf apk pacman zypper; do
  command -v "$manager" >/dev/null || continue
  case "$manager" in
    apt-get) install="apt-get install -y bubblewrap" ;;
    dnf)     install="dnf install -y bubblewrap" ;;
    apk)     install="apk add bubblewrap" ;;
    pacman)  install="pacman -S --noconfirm bubblewrap" ;;
    zypper)  install="zypper --non-interactive install bubblewrap" ;;
  esac
  break
done
if [ -z "$install" ]; then
  echo "bubblewrap (bwrap) is missing and no known package manager is here: install bubblewrap, then try again" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  echo "installing bubblewrap: $install"
  if [ "${install%% *}" = apt-get ]; then apt-get update -qq; fi
  $install >/dev/null
elif sudo -n true 2>/dev/null; then
  echo "installing bubblewrap: sudo $install"
  if [ "${install%% *}" = apt-get ]; then sudo -n apt-get update -qq; fi
  sudo -n $install >/dev/null
else
  echo "bubblewrap is missing, and without it no generated code may run. Type:  sudo $install" >&2
  exit 1
fi
