#!/bin/busybox sh
# The first process of the lab's Linux: finds its disk where the firmware says (iBFT), and goes over to the root on it.
# What cannot be done switches the PC off: nobody waits for it then.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
dmesg -n 7 # what becomes of the disk is of interest
iscsistart -N || poweroff -f
# No pings of its own: nobody here would log in again after one that a busy machine answers late.
iscsistart -b --param "node.conn[0].timeo.noop_out_interval=0" || poweroff -f
root=$(sed 's/.*root=\([^ ]*\).*/\1/' /proc/cmdline)
until disk=$(findfs "$root" 2>/dev/null); do usleep 50000; done
mount -t ext4 -o rw "$disk" /root || poweroff -f
for folder in proc sys dev; do mount --move "/$folder" "/root/$folder"; done
exec switch_root /root /sbin/init
