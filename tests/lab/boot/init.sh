#!/bin/bash
# The first process of the boot server: makes its root and its devices, then hands over to server.sh and waits.
# The root below (this machine's, through hostfs) is mounted read-only; all that is written lands in memory above it.
# From the kernel's command line: LAB_IO (folder shared with the host), LAB_CACHE (modules), LAB_ADDRESS, LAB_PYTHON.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb PAGER=cat
# By the kernel itself: a Debian without systemd-sysv has no poweroff. /proc moves below.
off() { sync; echo o >/proc/sysrq-trigger || echo o >/run/root/proc/sysrq-trigger; sleep 60; } 2>/dev/null
die() { echo "lab: $*"; off; }

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs run /run || die "no proc, sys or run"
for module in overlay xfs loop dm_snapshot crc32c_generic iscsi_target_mod target_core_file target_core_iblock; do
    modprobe -d "$LAB_CACHE" "$module" || die "the module $module does not load"
done

mkdir /run/memory /run/root && mount -t tmpfs -o size=80% memory /run/memory && mkdir /run/memory/upper /run/memory/work
mount -t overlay -o lowerdir=/,upperdir=/run/memory/upper,workdir=/run/memory/work root /run/root || die "no overlay root"
cd /run/root
mount --move /proc proc
mount --move /sys sys
mount -t configfs configfs sys/kernel/config
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm lab/io lab/disk
mount -t devpts devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t hostfs -o "$LAB_IO" io lab/io || die "no shared folder"
mount -t xfs /dev/ubda lab/disk || die "no disk"

ip link set lo up
ip address add "$LAB_ADDRESS/24" dev vec0 && ip link set vec0 up || die "no network"
chroot . /bin/bash /lab/io/server.sh || die "server.sh failed"
# This shell stays the first process, because it buries the daemons' dead (a zombie looks alive to kill -0).
chroot . "$LAB_PYTHON" -I -S /lab/io/agent.py "$LAB_ADDRESS" &
wait -n $!
off
