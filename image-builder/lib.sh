# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shell functions that image-builder/build and image-builder/domu/build share; sourced by both, inside the build root.
cache=${BLANKET_CACHE_DIR:-/cache}
say() { printf 'image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
list() { sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$1"; }

# Hash of files and folders (names, modes and content) and of any words given as "=word".
hash_of() {
    local item
    for item in "$@"; do
        case "$item" in
        =*) printf '%s\n' "$item";;
        *) find "$item" \( -type f -o -type l \) -printf '%P %m %l\n' | sort; find "$item" -type f -print0 | sort -z | xargs -0 -r cat;;
        esac
    done | sha256sum | cut -c1-16
}

# in_chroot ROOT COMMAND...: with the kernel's file systems, in a mount namespace that dies with the command.
in_chroot() {
    ROOT=$1 unshare --mount --propagation private bash -euc '
        mount --bind "$ROOT" "$ROOT"; mount -t proc proc "$ROOT/proc"; mount --rbind /dev "$ROOT/dev"; mount -t tmpfs tmpfs "$ROOT/run"; mount -t tmpfs tmpfs "$ROOT/tmp"
        exec chroot "$ROOT" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "${@:2}"' in_chroot "$@"
}

# debootstrap_root PACKAGES EXCLUDES OVERLAY TARGET: a Debian 13 root; OVERLAY is there before the packages come.
debootstrap_root() {
    local packages=$1 excludes=$2 overlay=$3 target=$4 line options=()
    while read -r line; do
        case "$line" in +*) options+=("--dpkgopt=path-include=${line#+}");; *) options+=("--dpkgopt=path-exclude=$line");; esac
    done < <(list "$excludes")
    INITRD=No mmdebstrap --quiet --mode=root --variant=apt --aptopt='APT::Install-Recommends "false"' "${options[@]}" \
        --setup-hook="cp -rT '$overlay' \"\$1\"" --include="$(list "$packages" | paste -sd,)" trixie "$target" >&2
    [ -z "$(ls "$target/boot/"initrd* 2>/dev/null)" ] || say "note: a package made an initramfs already"
}

# prune PREFIX KEEP: remove all but the KEEP newest of our cached results that nobody used for 12 hours.
prune() {
    local dir
    while read -r dir; do rm -rf --one-file-system "$dir"; done < <(
        find "$cache" -maxdepth 1 -regextype posix-extended -regex ".*/$1-[0-9a-f]{16}(\.tar)?" -printf '%T@ %p\n' | sort -rn | tail -n +$(($2 + 1)) | cut -d' ' -f2- |
        while read -r dir; do find "$dir" -maxdepth 0 -mmin +720; done)
}

# run_steps FOLDER ROOT PATTERN: runs the scripts of FOLDER that match, in order, in the chroot ROOT.
run_steps() {
    local step name
    for step in "$1"/$3; do
        name=$(basename "$step"); say "step $name"
        cp "$step" "$2/.step"; in_chroot "$2" /bin/bash /.step >&2 || die "$name failed"; rm "$2/.step"
    done
}

# subst FILE: a boot loader's template, with the command lines of image-builder/cmdline and $root_uuid.
args_of() { sed -n "s/^$1 //p" "${here:?}/cmdline" | paste -sd' '; }
subst() { sed "s|@ROOT_UUID@|${root_uuid:-}|g; s|@XEN_ARGS@|$(args_of xen)|; s|@LINUX_ARGS@|$(args_of linux)|" "$1"; }

# Ids follow from the content ($hash, set by the caller), so that the same input gives the same disk.
uuid_of() { printf '%s %s' "${hash:?}" "$1" | sha256sum | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'; }
