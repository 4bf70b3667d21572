#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What an HVM guest of the lab's Xen provider needs and the appliance leaves out: Debian's QEMU for Xen with its libraries, hvmloader and a BIOS, as one squashfs.
# Runs inside the build root and prints the file; made once, as labs have no network.
set -euo pipefail
cache=${BLANKET_CACHE_DIR:-/cache}/provider-hvm
out=$cache/device-model.squashfs
if [ ! -s "$out" ]; then
    work=$(mktemp -d); trap 'rm -rf --one-file-system "$work"' EXIT
    mmdebstrap --quiet --mode=root --variant=extract --aptopt='APT::Install-Recommends "false"' --include=qemu-system-xen,xen-utils-4.20 \
        --dpkgopt='path-exclude=/usr/share/doc/*' trixie "$work/root" >&2
    rm -rf --one-file-system "$work"/root/usr/share/{doc,man,locale,perl} "$work"/root/usr/lib/{python3*,xen-4.20/boot/xen-shim} "$work"/root/var
    for file in usr/lib/xen-4.20/boot/hvmloader usr/share/seabios/bios-256k.bin; do [ -s "$work/root/$file" ] || { echo "Debian's packages bring no $file" >&2; exit 1; }; done
    mkdir -p "$cache"
    mksquashfs "$work/root" "$out.new" -quiet -no-progress -comp zstd -noappend >/dev/null
    mv "$out.new" "$out"
fi
printf '%s\n' "$out"
