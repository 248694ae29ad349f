#!/usr/bin/env python3
"""A user-space driver in one page: QEMU's edu device through /dev/iommu, with fcntl, mmap and os only.

    iommufd-user run --device edu -- examples/edu.py

It finds the device in sysfs, binds and attaches it, lets it copy 16 bytes out of memory and back to
another place by DMA, and waits for the interrupt. On a machine with such a device bound to vfio-pci it
runs the same.
"""
import ctypes
import fcntl
import mmap
import os
import select
import struct
import sys

DEVICES = "/sys/bus/pci/devices"
IOMMU_IOAS_ALLOC, IOMMU_IOAS_MAP = 0x3B81, 0x3B85
VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT = 0x3B6E, 0x3B76, 0x3B77
FIXED_READ_WRITE = 7
MSI, DATA_EVENTFD_TRIGGER = 1, 0x24
CONFIG, COMMAND, MEMORY_AND_MASTER = 7 << 40, 4, 6
SOURCE, DESTINATION, COUNT, START = 0x80, 0x88, 0x90, 0x98
BUFFER, IOVA = 0x40000, 0x100000
FROM_MEMORY, TO_MEMORY_WITH_INTERRUPT = 1, 7


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def call(fd, request, layout, *values):
    """The ioctl with a structure; returns the structure afterwards."""
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, request, data)
    return struct.unpack(layout, data)


def find():
    for name in sorted(os.listdir(DEVICES)):
        if (read(f"{DEVICES}/{name}/vendor"), read(f"{DEVICES}/{name}/device")) == ("0x1234", "0x11e8"):
            return name
    sys.exit("There is no edu device in /sys/bus/pci/devices.")


def main():
    address = find()
    (cdev,) = os.listdir(f"{DEVICES}/{address}/vfio-dev")
    device = os.open(f"/dev/vfio/devices/{cdev}", os.O_RDWR)
    iommu = os.open("/dev/iommu", os.O_RDWR)
    print(f"{address} is {cdev}, in group {os.path.basename(os.readlink(f'{DEVICES}/{address}/iommu_group'))}")

    call(device, VFIO_DEVICE_BIND_IOMMUFD, "=IIiIQ", 24, 0, iommu, 0, 0)
    ioas = call(iommu, IOMMU_IOAS_ALLOC, "=III", 12, 0, 0)[2]
    call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, "=IIII", 16, 0, ioas, 0)

    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory[:16] = bytes(range(1, 17))
    va = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call(iommu, IOMMU_IOAS_MAP, "=IIIIQQQ", 40, FIXED_READ_WRITE, ioas, 0, va, mmap.PAGESIZE, IOVA)

    os.pwrite(device, struct.pack("<H", MEMORY_AND_MASTER), CONFIG + COMMAND)
    done = ctypes.CDLL(None).eventfd(0, 0)
    call(device, VFIO_DEVICE_SET_IRQS, "=IIIIIi", 24, DATA_EVENTFD_TRIGGER, MSI, 0, 1, done)

    def transfer(source, destination, command):
        for register, value in ((SOURCE, source), (DESTINATION, destination), (COUNT, 16), (START, command)):
            os.pwrite(device, struct.pack("<Q", value), register)
        while struct.unpack("<Q", os.pread(device, 8, START))[0] & 1:
            select.select([], [], [], 0.01)

    transfer(IOVA, BUFFER, FROM_MEMORY)
    transfer(BUFFER, IOVA + 16, TO_MEMORY_WITH_INTERRUPT)
    print("interrupts:", struct.unpack("<Q", os.read(done, 8))[0])
    print("copied" if memory[16:32] == memory[:16] else "NOT copied")


main()
