# What the scripts of tests have in common: each check prints a line and is counted in `passed` or `failed`.
passed=0 failed=0

# check NAME COMMAND...: passes when the command does.
check() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok      $name"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n%s\n' "$name" "$said" | head -40
  fi
}
is() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }
has() { grep -qF -- "$2" <<<"$1" || { echo "'$2' is not in: $1"; return 1; }; }
# within SECONDS COMMAND...: until the command passes.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { "$@"; return; }
    sleep 0.2
  done
}

# debian PACKAGES FILE: a root of this machine's Debian with these packages, as an archive; made once.
debian() {
  [ -f "$2" ] && return
  mkdir -p "$(dirname "$2")"
  mmdebstrap --quiet --variant=minbase --include="$1" "$(. /etc/os-release && echo "$VERSION_CODENAME")" "${2%.tar}.new.tar" \
    /etc/apt/sources.list.d/debian.sources && mv "${2%.tar}.new.tar" "$2"
}
