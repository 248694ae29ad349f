#!/usr/bin/env python3
"""A driver for examples/checksum-device.ts: checks what the device computes against zlib.

    iommufd-user run --device examples/checksum-device.ts -- examples/checksum.py
"""
import ctypes
import fcntl
import mmap
import os
import struct
import zlib

DEVICES = "/sys/bus/pci/devices"
IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP = 0x3B81, 0x3B85
VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3B6E, 0x3B76, 0x3B77
FIXED_READ_WRITE = 7
MSI, DATA_EVENTFD_TRIGGER = 1, 0x24
CONFIG, COMMAND, MEMORY_AND_MASTER = 7 << 40, 4, 6
ADDRESS, LENGTH, START, RESULT, STATUS = 0x08, 0x10, 0x14, 0x18, 0x1C
IOVA = 0x100000


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def call(fd, request, layout, *values):
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, request, data)
    return struct.unpack(layout, data)


(address,) = [name for name in os.listdir(DEVICES) if read(f"{DEVICES}/{name}/device") == "0x5678"]
(cdev,) = os.listdir(f"{DEVICES}/{address}/vfio-dev")
device = os.open(f"/dev/vfio/devices/{cdev}", os.O_RDWR)
iommu = os.open("/dev/iommu", os.O_RDWR)
call(device, VFIO_DEVICE_BIND_IOMMUFD, "=IIiIQ", 24, 0, iommu, 0, 0)
ioas = call(iommu, IOMMU_IOAS_ALLOC, "=III", 12, 0, 0)[2]
call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, "=IIII", 16, 0, ioas, 0)

memory = mmap.mmap(-1, 16 * mmap.PAGESIZE)
memory[:] = os.urandom(len(memory))
va = ctypes.addressof(ctypes.c_char.from_buffer(memory))
call(iommu, IOMMU_IOAS_MAP, "=IIIIQQQ", 40, FIXED_READ_WRITE, ioas, 0, va, len(memory), IOVA)

os.pwrite(device, struct.pack("<H", MEMORY_AND_MASTER), CONFIG + COMMAND)
done = ctypes.CDLL(None).eventfd(0, 0)
call(device, VFIO_DEVICE_SET_IRQS, "=IIIIIi", 24, DATA_EVENTFD_TRIGGER, MSI, 0, 1, done)


def checksum(iova, length):
    os.pwrite(device, struct.pack("<Q", iova), ADDRESS)
    os.pwrite(device, struct.pack("<I", length), LENGTH)
    os.pwrite(device, struct.pack("<I", 1), START)
    os.read(done, 8)
    return struct.unpack("<II", os.pread(device, 4, RESULT) + os.pread(device, 4, STATUS))


for length in (1, 4096, 5000, len(memory)):
    result, status = checksum(IOVA, length)
    print(length, "bytes:", "right" if (result, status) == (zlib.crc32(memory[:length]), 2) else "WRONG")
print("unmapped memory:", "failed, as it should" if checksum(0, 16)[1] == 3 else "WRONG")
