#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A provider's machine: the appliance on Debian's own hypervisor (which has HVM and PVH guests), with the blanket's hypervisor beside it as /boot/xen-blanket.gz of its slot a.
# Its root is named by device: a guest's disk with the same file system's UUID may be attached beside it.
# make_provider.sh APPLIANCE OUT: runs inside the build root; OUT is a raw image. make_provider.sh --fetch: gets that hypervisor, once; labs have no network.
set -euo pipefail
cache=${BLANKET_CACHE_DIR:-/cache}/provider-xen
package=xen-hypervisor-4.20-amd64
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
if [ ! -e "$cache/xen.gz" ]; then
    ls /var/lib/apt/lists/*_Packages >/dev/null 2>&1 || apt-get -qq update >&2
    (cd "$work" && apt-get download -qq "$package" >/dev/null 2>&1) || { echo "apt cannot download $package" >&2; exit 1; }
    dpkg-deb --fsys-tarfile "$work"/$package*.deb | tar -x -C "$work" ./boot
    mkdir -p "$cache"; cp "$work"/boot/xen-*-amd64.gz "$cache/xen.gz.new"; mv "$cache/xen.gz.new" "$cache/xen.gz"
fi
[ "${1:-}" != --fetch ] || exit 0
appliance=$1 out=$2
qemu-img convert -O raw "$appliance" "$out"
root="$out?offset=$(($(sgdisk -i 3 "$out" | sed -n 's/^First sector: \([0-9]*\).*/\1/p') * 512))"
slot=/slots/a
debugfs -R "dump $slot/boot/xen.gz $work/blanket.gz" "$root" 2>/dev/null
[ -s "$work/blanket.gz" ] || { echo "no $slot/boot/xen.gz in $appliance" >&2; exit 1; }
for file in boot/grub/grub.cfg slots/a/etc/fstab; do
    debugfs -R "dump /$file $work/$(basename $file)" "$root" 2>/dev/null
    sed -i 's|root=UUID=[^ ]*|root=/dev/vda3|; s|^UUID=[^ ]*|/dev/vda3|' "$work/$(basename $file)"
done
grep -q 'root=/dev/vda3' "$work/grub.cfg" || { echo "no root=UUID= in the appliance's grub.cfg" >&2; exit 1; }
debugfs -w -f - "$root" >"$work/log" 2>&1 <<S
rm $slot/boot/xen.gz
write $cache/xen.gz $slot/boot/xen.gz
write $work/blanket.gz $slot/boot/xen-blanket.gz
rm /boot/grub/grub.cfg
write $work/grub.cfg /boot/grub/grub.cfg
rm $slot/etc/fstab
write $work/fstab $slot/etc/fstab
S
debugfs -R "dump $slot/boot/xen-blanket.gz $work/again.gz" "$root" 2>/dev/null
cmp -s "$work/blanket.gz" "$work/again.gz" || { cat "$work/log" >&2; exit 1; }
