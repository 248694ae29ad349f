#!/usr/bin/env python3
"""One container, two address spaces: what IOMMU_VFIO_IOAS SET does to a VFIO program.

An ordinary VFIO program: it opens /dev/iommu, uses it as the container of two groups, and takes one
device from each. Between the two it changes the context's compatibility IOAS. Which IOAS a device is
on shows in what it reads by DMA: the same I/O address is mapped to other memory in each.

Nothing but the standard library is used, and nothing here knows what serves the calls:

    founding-question.py GROUP DEVICE GROUP DEVICE

for example `founding-question.py 7 scratch0 8 scratch1`. Both devices must be "scratch" devices.
founding-question.c is the same program in C.
"""

import errno
import fcntl
import mmap
import os
import struct
import sys

# <linux/vfio.h>
VFIO_TYPE1v2_IOMMU = 3
VFIO_GET_API_VERSION = 0x3B64
VFIO_CHECK_EXTENSION = 0x3B65
VFIO_SET_IOMMU = 0x3B66
VFIO_GROUP_GET_STATUS = 0x3B67
VFIO_GROUP_SET_CONTAINER = 0x3B68
VFIO_GROUP_GET_DEVICE_FD = 0x3B6A
VFIO_DEVICE_GET_REGION_INFO = 0x3B6C
VFIO_IOMMU_MAP_DMA = 0x3B71
VFIO_GROUP_FLAGS_VIABLE = 1
VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE = 1, 2

# <linux/iommufd.h>
IOMMU_DESTROY = 0x3B80
IOMMU_IOAS_ALLOC = 0x3B81
IOMMU_VFIO_IOAS = 0x3B88
IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_SET = 0, 1

# The scratch device's registers, offsets in its only region.
REG_IDENT = 0x00  # reads "SRCH"
REG_DMA_IOVA = 0x08  # 64 bits
REG_DMA_LENGTH = 0x10
REG_COMMAND = 0x14
REG_STATUS = 0x18  # errno of the last command
BUFFER = 0x1000  # 4096 bytes that DMA fills and empties
COMMAND_READ, COMMAND_WRITE = 1, 2

IOVA = 0x100000


def say(text):
    print(text, flush=True)


def call(description, fd, request, argument=0):
    """One ioctl, told to the reader. Returns its result, or the OSError."""
    if isinstance(argument, bytes):
        argument = bytearray(argument)  # With bytes fcntl.ioctl would return a copy of them.
    try:
        result = fcntl.ioctl(fd, request, argument)
    except OSError as error:
        say(f"   {description}  ->  {errno.errorcode[error.errno]}")
        return error
    say(f"   {description}  ->  {result}")
    return result


def must(result):
    """Where the program cannot go on without it."""
    if isinstance(result, OSError):
        sys.exit(f"founding-question: cannot go on: {result}")
    return result


def vfio_ioas_get(iommufd):
    """The ID of the compat IOAS, or None."""
    argument = bytearray(struct.pack("=IIHH", 12, 0, IOMMU_VFIO_IOAS_GET, 0))
    try:
        fcntl.ioctl(iommufd, IOMMU_VFIO_IOAS, argument)
    except OSError as error:
        say(f"   IOMMU_VFIO_IOAS GET  ->  {errno.errorcode[error.errno]}: there is none")
        return None
    ioas = struct.unpack_from("=I", argument, 4)[0]
    say(f"   IOMMU_VFIO_IOAS GET  ->  IOAS {ioas}")
    return ioas


def vfio_ioas_set(iommufd, ioas):
    argument = struct.pack("=IIHH", 12, ioas, IOMMU_VFIO_IOAS_SET, 0)
    return call(f"IOMMU_VFIO_IOAS SET {ioas}", iommufd, IOMMU_VFIO_IOAS, argument)


def destroy(iommufd, object_id):
    argument = struct.pack("=II", 8, object_id)
    return call(f"IOMMU_DESTROY {object_id}", iommufd, IOMMU_DESTROY, argument)


class Buffer:
    """A page of memory that devices reach by DMA."""

    def __init__(self, name, text):
        fd = os.memfd_create(name)
        os.ftruncate(fd, 4096)
        self.memory = mmap.mmap(fd, 4096)
        os.close(fd)
        self.text = text
        # Python does not tell where a mapping lies; the kernel does.
        with open("/proc/self/maps") as maps:
            line = next(line for line in maps if f"/memfd:{name}" in line)
        self.address = int(line.split("-")[0], 16)

    @property
    def text(self):
        return self.memory[:].split(b"\0")[0].decode()

    @text.setter
    def text(self, text):
        self.memory[:] = text.encode().ljust(4096, b"\0")


def map_dma(container, buffer, iova):
    flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
    argument = struct.pack("=IIQQQ", 32, flags, buffer.address, iova, 4096)
    return call(
        f'VFIO_IOMMU_MAP_DMA {iova:#x} -> the page that says "{buffer.text}"',
        container,
        VFIO_IOMMU_MAP_DMA,
        argument,
    )


class Group:
    def __init__(self, number):
        self.number = number
        self.fd = os.open(f"/dev/vfio/{number}", os.O_RDWR)
        status = bytearray(struct.pack("=II", 8, 0))
        fcntl.ioctl(self.fd, VFIO_GROUP_GET_STATUS, status)
        if not struct.unpack("=II", status)[1] & VFIO_GROUP_FLAGS_VIABLE:
            sys.exit(f"founding-question: group {number} is not viable")

    def set_container(self, container):
        argument = struct.pack("=i", container)
        return call(
            f"VFIO_GROUP_SET_CONTAINER (group {self.number})",
            self.fd,
            VFIO_GROUP_SET_CONTAINER,
            argument,
        )

    def device(self, name):
        argument = name.encode() + b"\0"
        fd = call(
            f"VFIO_GROUP_GET_DEVICE_FD {name}", self.fd, VFIO_GROUP_GET_DEVICE_FD, argument
        )
        return Scratch(name, must(fd))


class Scratch:
    """A scratch device: what it reads by DMA it shows in its buffer."""

    def __init__(self, name, fd):
        self.name, self.fd = name, fd
        info = bytearray(struct.pack("=IIIIQQ", 32, 0, 0, 0, 0, 0))
        fcntl.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info)
        self.region = struct.unpack("=IIIIQQ", info)[5]
        if os.pread(fd, 4, self.region + REG_IDENT) != b"SRCH":
            sys.exit(f"founding-question: {name} is not a scratch device")

    def command(self, command, iova, length):
        os.pwrite(self.fd, struct.pack("=Q", iova), self.region + REG_DMA_IOVA)
        os.pwrite(self.fd, struct.pack("=I", length), self.region + REG_DMA_LENGTH)
        os.pwrite(self.fd, struct.pack("=I", command), self.region + REG_COMMAND)
        return struct.unpack("=I", os.pread(self.fd, 4, self.region + REG_STATUS))[0]

    def dma_read(self, iova):
        status = self.command(COMMAND_READ, iova, 64)
        if status:
            say(f"   {self.name} reads {iova:#x} by DMA: {errno.errorcode[status]}")
            return None
        text = os.pread(self.fd, 64, self.region + BUFFER).split(b"\0")[0].decode()
        say(f'   {self.name} reads {iova:#x} by DMA: "{text}"')
        return text

    def dma_write(self, iova, text):
        os.pwrite(self.fd, text.encode() + b"\0", self.region + BUFFER)
        status = self.command(COMMAND_WRITE, iova, len(text) + 1)
        result = errno.errorcode[status] if status else "done"
        say(f'   {self.name} writes "{text}" to {iova:#x} by DMA: {result}')


def main():
    if len(sys.argv) != 5:
        sys.exit(f"usage: {sys.argv[0]} GROUP DEVICE GROUP DEVICE")
    first_group, first_name, second_group, second_name = sys.argv[1:]

    say("1. Open /dev/iommu; it will be the container. Opening makes no IOAS.")
    container = os.open("/dev/iommu", os.O_RDWR)
    call("VFIO_GET_API_VERSION", container, VFIO_GET_API_VERSION)
    call("VFIO_CHECK_EXTENSION TYPE1v2", container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU)
    vfio_ioas_get(container)

    say("2. Put the first group into the container: the compat IOAS is made automatically.")
    group1 = Group(first_group)
    must(group1.set_container(container))
    automatic = vfio_ioas_get(container)
    must(call("VFIO_SET_IOMMU TYPE1v2", container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
    one = Buffer("one", "memory one")
    must(map_dma(container, one, IOVA))

    say("3. Take the first device. It is given the compat IOAS, here and now.")
    device1 = group1.device(first_name)
    device1.dma_read(IOVA)

    say("4. Allocate another IOAS and make it the compat IOAS, although the first is in use.")
    argument = bytearray(struct.pack("=III", 12, 0, 0))
    must(call("IOMMU_IOAS_ALLOC", container, IOMMU_IOAS_ALLOC, argument))
    other = struct.unpack_from("=I", argument, 8)[0]
    say(f"   it is IOAS {other}")
    refused = isinstance(vfio_ioas_set(container, other), OSError)
    if refused:
        say("   Refused: this machine keeps a container in one address space.")
    two = Buffer("two", "memory two")
    map_dma(container, two, IOVA)

    say("5. Put the second group into the same container and take its device.")
    group2 = Group(second_group)
    must(group2.set_container(container))
    current = vfio_ioas_get(container)
    device2 = group2.device(second_name)

    say("6. Let both devices read the same address.")
    text1 = device1.dma_read(IOVA)
    text2 = device2.dma_read(IOVA)
    if text1 == text2:
        say(f"   One container, one address space: both devices are on IOAS {current}.")
    else:
        say(
            f"   One container, two address spaces: {first_name} stayed on IOAS {automatic},"
            f" {second_name} is on IOAS {current}."
        )
    device2.dma_write(IOVA, f"written by {second_name}")
    say(f'   the pages say "{one.text}" and "{two.text}"')

    say("7. The automatic IOAS is an ordinary object: in use it stays, unused it can be destroyed.")
    destroy(container, automatic)
    os.close(device1.fd)
    if refused:
        os.close(device2.fd)
    say("   (device closed)")
    vfio_ioas_set(container, automatic)
    destroy(container, automatic)
    vfio_ioas_get(container)

    say("8. Close the container, the groups and the devices: whatever is left goes with them.")


if __name__ == "__main__":
    main()
