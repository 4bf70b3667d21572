#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the storage rig's kernel and initramfs: Debian's kernel modules, the tools that storage/ calls, and the rig program. Runs inside the build root.
# Usage: make_initramfs.sh RIG_PROGRAM OUT_DIR; the Debian packages are kept in /cache/storage-rig.
set -euo pipefail
program=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
mapfile -t packages < <(sed 's/#.*//; /^[[:space:]]*$/d' "$here/packages")
store=/cache/storage-rig
mkdir -p "$store" "$out"
exec 9>"$store/.lock"; flock 9

apt_dir=$(mktemp -d)
trap 'rm -rf "$apt_dir"' EXIT
if [ ! -e "$store/.complete" ] || [ "$here/packages" -nt "$store/.complete" ]; then
    find "$store" -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
    apt-get update -qq
    kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p' | head -n 1)
    (cd "$apt_dir" && apt-get download -qq -o APT::Sandbox::User=root "$kernel" "${packages[@]}" >&2)
    mkdir "$store/tree"
    for deb in "$apt_dir"/*.deb; do dpkg -x "$deb" "$store/tree"; done
    depmod -b "$store/tree/usr" "$(ls "$store/tree/usr/lib/modules")"
    touch "$store/.complete"
fi

tree=$store/tree
release=$(ls "$tree/usr/lib/modules")
root=$apt_dir/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,etc,var/lib/drbd,var/lock,usr/bin,usr/sbin,usr/lib/drbd,usr/lib64}
for dir in sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
cp "$(find "$tree" -path '*bin/busybox')" "$root/bin/busybox"
cp "$program" "$root/rig"
cp "$tree/usr/sbin/pdata_tools" "$tree/usr/sbin/drbdmeta" "$root/usr/sbin/"
cp "$tree/usr/lib/drbd/drbdsetup-84" "$root/usr/lib/drbd/"
cp "$tree/usr/sbin/lvm" "$root/usr/sbin/"
for verb in vgcreate vgchange vgs lvs lvcreate lvchange lvremove; do ln -s lvm "$root/usr/sbin/$verb"; done
install -D -m 0644 "$here/../../../image-builder/extra/etc/lvm/lvmlocal.conf" "$root/etc/lvm/lvmlocal.conf"
: >"$root/etc/lvm/lvm.conf"
cp "$(command -v kmod)" "$(command -v tc)" "$root/usr/bin/"
ln -s pdata_tools "$root/usr/sbin/thin_delta"
ln -s pdata_tools "$root/usr/sbin/thin_dump"
ln -s pdata_tools "$root/usr/sbin/thin_check"
ln -s ../bin/kmod "$root/usr/sbin/modprobe"
mkdir -p "$root/usr/lib/tc"
export LD_LIBRARY_PATH=$tree/usr/lib/x86_64-linux-gnu
for file in "$root"/rig "$root"/usr/sbin/lvm "$root"/usr/sbin/pdata_tools "$root"/usr/sbin/drbdmeta "$root"/usr/lib/drbd/drbdsetup-84 "$root"/usr/bin/kmod "$root"/usr/bin/tc; do
    ldd "$file" | grep -o '/[^ ]*' || true
done | sort -u | while read -r lib; do
    to=$root/${lib#"$tree"}
    mkdir -p "$(dirname "$to")"
    cp -L "$lib" "$to"
done
unset LD_LIBRARY_PATH

mkdir -p "$root/usr/lib/modules/$release"
for module in virtio_pci virtio_blk virtio_net dm-mod dm-thin-pool drbd sch_netem crc32c_generic; do
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
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) | gzip -1 >"$out/initramfs.gz.new"
mv "$out/initramfs.gz.new" "$out/initramfs.gz"
cp "$tree/boot/vmlinuz-$release" "$out/vmlinuz"
