# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shell functions for the locks packages/*.lock; sourced by dev (on the host) and by lib.sh (in the build root).
# A lock's lines: "time EPOCH", the state of the mirror that it was taken from, and "NAME VERSION ARCHITECTURE" for each package; architecture "source" is a source package.
lock_time() { sed -n 's/^time //p' "$1"; }
lock_packages() { awk '!/^#/ && NF == 3 && $3 != "source"' "$1"; }
lock_source() { awk -v name="$2" '$1 == name && $3 == "source" { print $2 }' "$1"; }

# The sources of Debian 13. An archive that keeps old versions can stand in for the mirror (BLANKET_MIRROR, BLANKET_SECURITY_MIRROR).
lock_mirror() {
    local main=${BLANKET_MIRROR:-http://deb.debian.org/debian} security=${BLANKET_SECURITY_MIRROR:-http://security.debian.org/debian-security}
    printf 'deb %s trixie main\ndeb %s trixie-updates main\ndeb %s trixie-security main\n' "$main" "$main" "$security"
}

# locked_root LOCK TARGET OPTION...: mmdebstrap makes TARGET with the lock's versions; those that the mirror no longer has come as it has them. lock_differs tells which.
locked_root() {
    local lock=$1 target=$2 pins; shift 2
    pins=$(mktemp)
    lock_packages "$lock" | awk '{ printf "Package: %s\nPin: version %s\nPin-Priority: 1001\n\n", $1, $2 }' >"$pins"
    chmod 644 "$pins"
    # Half of a set of packages in its old version may refuse the other half: then all come as the mirror has them.
    if ! _locked_root "$pins" "$target" "$@"; then
        rm -rf --one-file-system "$target"; : >"$pins"
        _locked_root "$pins" "$target" "$@" || { rm -f "$pins"; return 1; }
    fi
    rm -f "$pins" "$target/etc/apt/preferences.d/locked"
    [ -z "${BLANKET_MIRROR:-}" ] || BLANKET_MIRROR='' BLANKET_SECURITY_MIRROR='' lock_mirror >"$target/etc/apt/sources.list"
}
_locked_root() {
    local pins=$1 target=$2 mirror=(); shift 2
    [ -z "${BLANKET_MIRROR:-}" ] || mapfile -t mirror < <(lock_mirror)
    mmdebstrap --quiet --mode=root --variant=apt --aptopt='APT::Install-Recommends "false"' \
        --setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\"; cp '$pins' \"\$1/etc/apt/preferences.d/locked\"" "$@" trixie "$target" "${mirror[@]}" >&2
}

# lock_differs LOCK ROOT: the packages of ROOT that are not as the lock says, a line each.
lock_differs() {
    { lock_packages "$1" | awk '{ print "lock", $1, $2 "/" $3 }'
      dpkg-query --admindir="$2/var/lib/dpkg" -W -f '${db:Status-Abbrev}${Package} ${Version}/${Architecture}\n' | sed -n 's/^ii */root /p'; } |
    awk '$1 == "lock" { want[$2] = $3; next } { have[$2] = $3 }
         END { for (name in want) if (!(name in have)) print name ": " want[name] " is in the lock, and was not installed"
               else if (have[name] != want[name]) print name ": the lock has " want[name] ", the mirror " have[name]
               for (name in have) if (!(name in want)) print name ": " have[name] " was installed, and is not in the lock" }' | sort
}
