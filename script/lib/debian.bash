# Debian packages without installing them, for any user, on a machine whose apt is set up: sourced by get-qemu and
# get-guest. apt works in a directory of its own, with lists, cache and an empty status file there, so it reckons the
# whole closure of what is asked for; it keeps the machine's own configuration for proxies and the like.

# What is made outside the checkout.
cache=${ETHERLOOM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/etherloom}

say() { printf 'script/%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }
megabytes() { du -sm "$1" | cut -f1; }

# The archive that this machine gets its Debian packages from; $ETHERLOOM_DEBIAN_MIRROR replaces it. apt reads its
# sources itself, so that both of their formats are understood.
debian_mirror() {
  local uri=${ETHERLOOM_DEBIAN_MIRROR-} uris
  if [[ -z $uri ]]; then
    uris=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' 'Created-By: Packages')
    uri=$(grep -m 1 -E '/debian(/|$)' <<<"$uris") ||
      die "apt's sources name no Debian archive; name one: ETHERLOOM_DEBIAN_MIRROR=URI script/${0##*/}"
  fi
  echo "${uri%/}"
}

# work NAME: holds the lock of $cache/NAME until this (sub)shell ends, and makes the empty directory $work beside it, on
# the same file system; it goes with the shell, whatever ends that.
work() {
  mkdir -p "$(dirname "$cache/$1")"
  exec {lock}>"$cache/$1.lock"
  flock "$lock"
  work=$(mktemp -d "$cache/$1.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  end_in_order
}

# A shell that a signal ends by itself runs no EXIT trap, and does not wait for a subshell that does.
end_in_order() {
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
end_in_order

# packages SUITE PACKAGE...: downloads them and all that they depend on into $work/apt/archives. A backports suite comes
# with its base.
packages() {
  local suite=$1 apt=$work/apt each mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg options
  shift
  command -v apt-get dpkg-deb >/dev/null || die "there is no apt-get or no dpkg-deb; this needs Debian or a kin of it"
  [[ -r $keyring ]] || die "$keyring is missing; apt-get install debian-archive-keyring"
  mirror=$(debian_mirror)
  mkdir -p "$apt"/{lists,archives,parts}
  : >"$apt/status"
  for each in $(printf '%s\n' "${suite%-backports}" "$suite" | uniq); do
    echo "deb [arch=amd64 signed-by=$keyring] $mirror $each main"
  done >"$apt/sources.list"
  options=(
    -qq
    -o APT::Architecture=amd64 -o APT::Architectures::=amd64
    -o APT::Install-Recommends=false -o APT::Install-Suggests=false
    -o APT::Sandbox::User= # as whoever runs this: the user _apt cannot come in here
    -o Acquire::Languages=none -o Acquire::Retries=3
    -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
    -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives"
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/parts"
    -o Dir::Etc::preferences="$apt/parts/none" -o Dir::Etc::preferencesparts="$apt/parts"
  )
  say "reading the package lists of $suite"
  apt-get "${options[@]}" update >&2
  say "downloading $* with all dependencies"
  apt-get "${options[@]}" --target-release "$suite" --download-only --yes install "$@" >&2
}
