#!/bin/sh
# Installs Forebay from this folder, for machines without a package manager that fits. As root:
#
#   ./install.sh               installs, or brings an installation to this version; what waits stays
#   ./install.sh --remove      removes the program; /etc/forebay and /var/lib/forebay stay
set -eu
cd "$(dirname "$0")"
root=${DESTDIR:-}

if [ "${1:-}" = --remove ]; then
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now forebay 2>/dev/null || true
  fi
  rm -f "$root/usr/bin/forebay" "$root/lib/systemd/system/forebay.service" "$root/etc/init.d/forebay" \
    "$root/lib/udev/rules.d/60-forebay.rules"
  echo "removed; /etc/forebay and /var/lib/forebay are still there"
  exit 0
fi
if [ "$#" -gt 0 ]; then
  echo "install.sh: unknown option '$1'; there is --remove" >&2
  exit 2
fi

./forebay --version >/dev/null || { echo "install.sh: ./forebay does not run here: is it for another processor?" >&2; exit 1; }
if [ -z "$root" ] && ! grep -q '^forebay:' /etc/passwd; then
  if command -v useradd >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/forebay --shell /usr/sbin/nologin forebay
  elif command -v adduser >/dev/null; then
    addgroup -S forebay && adduser -S -D -H -h /var/lib/forebay -s /sbin/nologin -G forebay forebay
  else
    echo "install.sh: there is no useradd and no adduser: the agent will run as root"
  fi
fi
mkdir -p "$root/usr/bin" "$root/etc/forebay" "$root/var/lib/forebay"
# A running program cannot be written over, but its name can be given to another.
cp forebay "$root/usr/bin/.forebay.new"
chmod 0755 "$root/usr/bin/.forebay.new"
mv "$root/usr/bin/.forebay.new" "$root/usr/bin/forebay"
[ -e "$root/etc/forebay/forebay.toml" ] || cp forebay.toml "$root/etc/forebay/forebay.toml"
chmod 0700 "$root/var/lib/forebay"
if [ -z "$root" ] && grep -q '^forebay:' /etc/passwd; then
  chown forebay:forebay /var/lib/forebay
fi
if [ -e "$root/etc/openwrt_release" ]; then
  cp forebay.init "$root/etc/init.d/forebay" && chmod 0755 "$root/etc/init.d/forebay"
elif [ -e "$root/sbin/openrc-run" ]; then
  cp forebay.openrc "$root/etc/init.d/forebay" && chmod 0755 "$root/etc/init.d/forebay"
else
  mkdir -p "$root/lib/systemd/system" "$root/lib/udev/rules.d"
  cp forebay.service "$root/lib/systemd/system/forebay.service"
  cp 60-forebay.rules "$root/lib/udev/rules.d/60-forebay.rules"
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable forebay
    systemctl try-restart forebay
  fi
fi
echo "installed: $("$root/usr/bin/forebay" --version). Next: edit /etc/forebay/forebay.toml, forebay check, start the service"
