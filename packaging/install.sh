#!/bin/sh
# Installs Forebay from this folder, for machines without a package manager that fits. As root:
#
#   ./install.sh               installs, or brings an installation to this version and starts it again; what waits stays
#   ./install.sh --remove      stops and removes the program; the configuration and the store stay
set -eu
umask 022
cd "$(dirname "$0")"
root=${DESTDIR:-}

# What starts services here: systemd, OpenRC or OpenWrt's procd.
if [ -e "$root/etc/openwrt_release" ]; then
  init=openwrt
elif [ -e "$root/sbin/openrc-run" ]; then
  init=openrc
else
  init=systemd
fi
# service ACTION: where a service manager runs.
service() {
  [ -z "$root" ] || return 0
  case "$init" in
    systemd) [ ! -d /run/systemd/system ] || systemctl "$1" forebay || true ;;
    openrc) [ ! -e /run/openrc/softlevel ] || rc-service --ifstarted forebay "$1" || true ;;
    openwrt) [ ! -x /etc/init.d/forebay ] || [ ! -S /var/run/ubus/ubus.sock ] || /etc/init.d/forebay "$1" || true ;;
  esac
}

if [ "${1:-}" = --remove ]; then
  service stop
  case "$init" in
    systemd) [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl disable forebay || true ;;
    openrc) [ -n "$root" ] || rc-update del forebay 2>/dev/null || true ;;
    openwrt) [ -n "$root" ] || /etc/init.d/forebay disable 2>/dev/null || true ;;
  esac
  rm -f "$root/usr/bin/forebay" "$root/lib/systemd/system/forebay.service" "$root/etc/init.d/forebay" \
    "$root/lib/udev/rules.d/60-forebay.rules" "$root/lib/upgrade/keep.d/forebay"
  echo "removed; the configuration in /etc/forebay and the store are still there"
  exit 0
fi
if [ "$#" -gt 0 ]; then
  echo "install.sh: unknown option '$1'; there is --remove" >&2
  exit 2
fi

./forebay --version >/dev/null || { echo "install.sh: ./forebay does not run here: is it for another processor?" >&2; exit 1; }
if [ -z "$root" ] && [ "$init" != openwrt ] && ! grep -q '^forebay:' /etc/passwd; then
  if command -v useradd >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/forebay --shell /usr/sbin/nologin forebay
  elif command -v adduser >/dev/null; then
    addgroup -S forebay && adduser -S -D -H -h /var/lib/forebay -s /sbin/nologin -G forebay forebay
  else
    echo "install.sh: there is no useradd and no adduser; make a user 'forebay' first" >&2
    exit 1
  fi
fi
if [ -z "$root" ] && ! grep -q '^dialout:' /etc/group && [ "$init" != openwrt ]; then
  echo "install.sh: there is no group 'dialout': change it in the service to the group of the serial ports" >&2
fi
mkdir -p "$root/usr/bin" "$root/etc/forebay"
# A running program cannot be written over, but its name can be given to another. It is on disk before it has the name.
cp forebay "$root/usr/bin/.forebay.new"
chmod 0755 "$root/usr/bin/.forebay.new"
sync
mv "$root/usr/bin/.forebay.new" "$root/usr/bin/forebay"
if [ ! -e "$root/etc/forebay/forebay.toml" ]; then
  cp forebay.toml "$root/etc/forebay/forebay.toml"
  chmod 0644 "$root/etc/forebay/forebay.toml"
fi
mkdir -p "$root/etc/init.d"
case "$init" in
  openwrt)
    cp forebay.init "$root/etc/init.d/forebay"
    chmod 0755 "$root/etc/init.d/forebay"
    # What an upgrade of the system keeps.
    mkdir -p "$root/lib/upgrade/keep.d"
    printf '/usr/bin/forebay\n/etc/forebay/\n/etc/init.d/forebay\n/srv/forebay/\n' >"$root/lib/upgrade/keep.d/forebay"
    ;;
  openrc)
    cp forebay.openrc "$root/etc/init.d/forebay"
    chmod 0755 "$root/etc/init.d/forebay"
    ;;
  systemd)
    rmdir "$root/etc/init.d" 2>/dev/null || true
    mkdir -p "$root/lib/systemd/system" "$root/lib/udev/rules.d" "$root/var/lib/forebay"
    chmod 0700 "$root/var/lib/forebay"
    [ -n "$root" ] || chown -R forebay:forebay /var/lib/forebay
    cp forebay.service "$root/lib/systemd/system/forebay.service"
    cp 60-forebay.rules "$root/lib/udev/rules.d/60-forebay.rules"
    chmod 0644 "$root/lib/systemd/system/forebay.service" "$root/lib/udev/rules.d/60-forebay.rules"
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
      systemctl daemon-reload
      systemctl enable forebay
    fi
    ;;
esac
sync
case "$init" in
  systemd) service try-restart ;;
  *) service restart ;;
esac
echo "installed: $("$root/usr/bin/forebay" --version). Next: edit /etc/forebay/forebay.toml, forebay check, start the service"
