#!/bin/busybox sh
# The guest's init: loads what modules there are, runs /job, says how it ended, switches off.
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp
/bin/busybox --install -s /bin
PATH=/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do [ -e "$module" ] && insmod "$module"; done
sh /job
echo "job ended with $?"
poweroff -f
