#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Base layer, in the chroot: drops kernel modules that no cloud host has and unpacks the rest, since xz costs seconds at
# each boot while the disk image is compressed anyway. All network and block drivers stay.
set -euo pipefail
bad=0
for tree in /usr/lib/modules/*; do
    cd "$tree/kernel"
    rm -rf sound net/{bluetooth,mac80211,wireless,nfc,can,rxrpc,6lowpan,mac802154,ieee802154,dsa,batman-adv,sctp,tipc,atm,ax25,rose,netrom} \
        drivers/{gpu,media,iio,comedi,staging,isdn,bluetooth,accel,nfc,atm,parport,firewire,greybus,power,leds,memstick,video,gameport,w1,ntb,uwb,soundwire,counter,extcon,pwm,spi,thunderbolt,hsi,most,fpga} \
        drivers/input/{joystick,touchscreen,tablet,misc,mouse} drivers/platform/{x86,chrome,surface} drivers/hwmon drivers/net/{wireless,can,ieee802154,wwan,arcnet,hamradio,fddi,dsa,ppp,slip,thunderbolt} \
        drivers/usb/{gadget,serial,misc,atm,image,typec,dwc3,dwc2,chipidea,musb,cdns3,isp1760,usbip} \
        fs/{bcachefs,ocfs2,gfs2,ceph,f2fs,ubifs,jffs2,nilfs2,jfs,reiserfs,smb,afs,coda,orangefs,hfs,hfsplus,ufs,minix,sysv,bfs,efs,hpfs,ntfs3,affs,adfs,befs,qnx4,qnx6,omfs,zonefs,erofs,9p,nfsd,nfs,lockd,ecryptfs,btrfs,xfs,exfat}
    find . -name '*.ko.xz' -print0 | xargs -0 -r -P2 -n64 xz -d
    # What needs a module that has gone is of no use either; modules.dep (still of the full set) lists whole chains.
    cd "$tree"
    while IFS=: read -r module needs; do
        [ -e "${module%.xz}" ] || continue
        for need in $needs; do
            [ -e "${need%.xz}" ] && continue
            case "$module" in
            *drivers/net/ethernet/*|*drivers/block/*|*drivers/nvme/*|*drivers/scsi/*|*drivers/ata/*|*drivers/md/*|*drivers/xen/*)
                echo "kernel modules: $module needs $need: keep that one too" >&2; bad=1;;
            esac
            rm -f "${module%.xz}"; break
        done
    done <modules.dep
    depmod -b / "$(basename "$tree")"
done
[ $bad = 0 ]
