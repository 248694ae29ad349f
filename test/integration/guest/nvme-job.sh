# Writes /pattern to the disk behind nvme, raw and in a file system, and reads both back.
disk=/dev/nvme0n1
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -b $disk ] && break; sleep 0.2; done
[ -b $disk ] || { echo 'there is no disk'; ls /dev /sys/class/nvme; exit 1; }
echo "disk: $(cat /sys/block/nvme0n1/size) sectors, $(cat /sys/class/nvme/nvme0/model)"
blocks=$(($(stat -c %s /pattern) / 4096))

dd if=/pattern of=$disk bs=4096 seek=256 oflag=direct conv=fsync 2>/dev/null || exit 1
dd if=$disk bs=4096 skip=256 count=$blocks iflag=direct 2>/dev/null | cmp - /pattern || exit 1
echo 'raw: ok'

printf 'n\np\n1\n8192\n\nw\n' | fdisk $disk >/dev/null 2>&1
mke2fs ${disk}p1 >/dev/null || exit 1
mkdir -p /mnt
mount -t ext2 ${disk}p1 /mnt && cp /pattern /mnt/pattern && sync && umount /mnt || exit 1
echo 3 >/proc/sys/vm/drop_caches
mount -t ext2 ${disk}p1 /mnt && cmp /mnt/pattern /pattern && umount /mnt || exit 1
echo 'file system: ok'
grep -q nvme0q1 /proc/interrupts && echo 'MSI-X: ok'
