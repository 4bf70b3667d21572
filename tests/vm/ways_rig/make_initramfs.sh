#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the ways rig's kernel and initramfs: Debian's kernel modules, `wg`, the build root's network tools, and the rig program. Runs inside the build root.
# Usage: make_initramfs.sh RIG_PROGRAM OUT_DIR; the Debian packages are kept in /cache/ways-rig.
set -euo pipefail
program=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
mapfile -t packages < <(sed 's/#.*//; /^[[:space:]]*$/d' "$here/packages")
store=/cache/ways-rig
mkdir -p "$store" "$out"
exec 9>"$store/.lock"; flock 9

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$store/.complete" ] || [ "$here/packages" -nt "$store/.complete" ]; then
    find "$store" -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
    apt-get update -qq
    kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p' | head -n 1)
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$kernel" "${packages[@]}" >&2)
    mkdir "$store/tree"
    for deb in "$work"/*.deb; do dpkg -x "$deb" "$store/tree"; done
    depmod -b "$store/tree/usr" "$(ls "$store/tree/usr/lib/modules")"
    touch "$store/.complete"
fi

tree=$store/tree
release=$(ls "$tree/usr/lib/modules")
root=$work/root
mkdir -p "$root"/{dev,proc,sys,tmp,run,etc,usr/bin,usr/sbin,usr/lib,usr/lib64}
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
cp "$(find "$tree" -path '*bin/busybox')" "$root/usr/bin/busybox"
cp "$program" "$root/rig"
cp "$tree/usr/bin/wg" "$(command -v kmod)" "$(command -v ip)" "$(command -v ping)" "$(command -v nsenter)" "$(command -v unshare)" "$root/usr/bin/"
cp "$(command -v nft)" "$(command -v sysctl)" "$root/usr/sbin/"
ln -s ../bin/kmod "$root/usr/sbin/modprobe"
for file in "$root"/rig "$root"/usr/bin/* "$root"/usr/sbin/*; do
    ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true
done | sort -u | while read -r lib; do
    mkdir -p "$root/$(dirname "$lib")"
    cp -L "$lib" "$root/$lib"
done

mkdir -p "$root/usr/lib/modules/$release"
for module in wireguard veth bridge nf_tables nft_chain_nat nft_masq nft_nat nft_ct nf_conntrack; do
    modprobe -d "$tree/usr" -S "$release" --show-depends "$module" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | sort -u | while read -r module; do
    to=$root/usr/lib/modules/$release/${module##*/}
    case $module in
        *.xz) xz -dc "$module" >"${to%.xz}" ;;
        *) cp "$module" "$to" ;;
    esac
done
cp "$tree/usr/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$root/usr/lib/modules/$release/"
depmod -b "$root/usr" "$release"
install -m 0755 "$here/init" "$root/init"
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) | gzip -1 >"$out/initramfs.gz"
cp "$tree/boot/vmlinuz-$release" "$out/vmlinuz"
