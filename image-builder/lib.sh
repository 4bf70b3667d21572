# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shell functions that the scripts here and in domu/ share; sourced inside the build root.
cache=${BLANKET_CACHE_DIR:-/cache}
umask 022
say() { printf 'image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
# shellcheck source=image-builder/locked.sh
. "$(dirname "${BASH_SOURCE[0]}")/locked.sh"
list() { sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$1"; }

# Hash of files and folders (names, kinds, the owner's rights and content) and of any words given as "=word".
hash_of() {
    local item
    for item in "$@"; do
        case "$item" in
        =*) printf '%s\n' "$item";;
        *) find "$item" \( -type f -o -type l \) -printf '%M %P %l\n' | sed 's/^\(....\)....../\1/' | sort; find "$item" -type f -print0 | sort -z | xargs -0 -r cat;;
        esac
    done | sha256sum | cut -c1-16
}

# in_chroot ROOT COMMAND...: with the kernel's file systems, in a mount namespace that dies with the command.
in_chroot() {
    ROOT=$1 unshare --mount --propagation private bash -euc '
        mount --bind "$ROOT" "$ROOT"; mount -t proc proc "$ROOT/proc"; mount --rbind /dev "$ROOT/dev"; mount -t tmpfs tmpfs "$ROOT/run"; mount -t tmpfs tmpfs "$ROOT/tmp"
        exec chroot "$ROOT" /usr/bin/env -i SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:?}" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "${@:2}"' in_chroot "$@"
}

# base_layer PREFIX PACKAGES OVERLAY STEPS: prints the folder, cached by the hash of what makes it, with root.tar (Debian 13 with PACKAGES in the versions of PACKAGES.lock, OVERLAY there before
# they come, then the scripts 0* to 4* of STEPS) and `differs` (what is not as the lock says). BLANKET_LOCKED=1: one that differs is tried again.
base_layer() {
    local hash out root=${work:?}/base tools; tools=$(dirname "${BASH_SOURCE[0]}")
    hash=$(hash_of "$2" "$2.lock" "$tools/packages/appliance.exclude" "$3" "$tools/lib.sh" "$tools/locked.sh" "$4"/[0-4]*.sh "=${BLANKET_MIRROR:-}")
    out=$cache/$1-$hash
    if [ -s "$out/differs" ] && [ "${BLANKET_LOCKED:-0}" = 1 ]; then rm -rf "$out"; fi
    if [ ! -e "$out/.complete" ]; then
        say "$1: Debian 13 with the packages of $(basename "$2")"
        rm -rf "$out.new"; mkdir "$out.new"
        # Each by itself: bash does not end a command substitution at a failure.
        debian_root "$2" "$tools/packages/appliance.exclude" "$3" "$root" || die "mmdebstrap failed: is the mirror reachable?"
        lock_differs "$2.lock" "$root" >"$out.new/differs" || die "what is installed cannot be compared with $2.lock"
        run_steps "$4" "$root" '[0-4]*.sh'
        pack "$root" "$out.new/root.tar" || die "the base layer cannot be stored in $cache: is the disk full?"
        rm -rf "$out"; mv "$out.new" "$out"; touch "$out/.complete"
    fi
    touch "$out"; printf '%s' "$out"
}
debian_root() { # PACKAGES EXCLUDES OVERLAY TARGET
    local line options=()
    while read -r line; do
        case "$line" in +*) options+=("--dpkgopt=path-include=${line#+}");; *) options+=("--dpkgopt=path-exclude=$line");; esac
    done < <(list "$2")
    INITRD=No locked_root "$1.lock" "$4" "${options[@]}" --setup-hook="cp -rT '$3' \"\$1\"" --include="$(list "$1" | paste -sd,)" || return 1
    [ -z "$(ls "$4/boot/"initrd* 2>/dev/null)" ] || say "note: a package made an initramfs already"
}

# Trees whose bits follow from the lock: no time is later than it (clamp), and the order in a tar is by name.
clamp() { find "$1" -xdev -newermt "@${SOURCE_DATE_EPOCH:?}" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }
pack() { clamp "$1" && tar -C "$1" --sort=name --numeric-owner --xattrs --xattrs-include='*' --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$2" .; }
unpack() { tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' -xf "$2"; }

# tell_differs FILE: says loudly what is not as the locks say.
tell_differs() {
    [ -s "$1" ] || return 0
    say "NOT AS LOCKED: $(wc -l <"$1") of what this is made of differ from the locks (./dev lock takes the mirror's present versions into them)"
    sed 's/^/image:   /' "$1" >&2
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
