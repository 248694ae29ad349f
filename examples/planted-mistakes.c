/*
 * A user-space driver with five planted mistakes, each of which real programs have made.
 *
 * It drives QEMU's edu device, which copies memory by DMA: it sends messages into the device's buffer
 * and receives them in other memory. Most of it seems to work.
 *
 *     cc -o planted-mistakes planted-mistakes.c
 *     iommufd-user run --device edu --doctor -- ./planted-mistakes
 *
 * docs/tour.md goes through what the doctor says. -DFIXED=3 makes the program with the first three
 * mistakes fixed, -DFIXED=5 with none left. It runs the same on a machine with such a device.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef FIXED
#define FIXED 0
#endif

/* The few declarations of <linux/vfio.h> and <linux/iommufd.h> that are used, so that any headers do. */
#define VFIO_DEVICE_BIND_IOMMUFD 0x3b76
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT 0x3b77
#define IOMMU_DESTROY 0x3b80
#define IOMMU_IOAS_ALLOC 0x3b81
#define IOMMU_IOAS_IOVA_RANGES 0x3b84
#define IOMMU_IOAS_MAP 0x3b85
#define IOMMU_IOAS_UNMAP 0x3b86
enum { MAP_FIXED_IOVA = 1, MAP_WRITEABLE = 2, MAP_READABLE = 4 };

struct bind { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach { uint32_t argsz, flags, pt_id, pasid; };
struct destroy { uint32_t size, id; };
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct iova_range { uint64_t start, last; };
struct iova_ranges { uint32_t size, ioas_id, num_iovas, reserved; uint64_t allowed_iovas, alignment; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };

/* The edu device: registers, and a buffer of its own. */
enum { SOURCE = 0x80, DESTINATION = 0x88, COUNT = 0x90, START = 0x98, BUFFER = 0x40000 };
enum { FROM_MEMORY = 1, TO_MEMORY = 3 };
#define CONFIG_COMMAND ((7ULL << 40) + 4)
enum { MEMORY_AND_BUS_MASTER = 6 };

#define PAGE 4096
#define MESSAGE 16

static int device, iommu;
static uint32_t ioas;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void *memory(size_t length)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

/* Maps memory for DMA; returns the IOVA, 0 on failure. */
static uint64_t map(void *at, uint64_t length, uint64_t iova, uint32_t flags)
{
	struct ioas_map args = { sizeof args, flags | MAP_READABLE | MAP_WRITEABLE, ioas, 0,
				 (uintptr_t)at, length, iova };

	return ioctl(iommu, IOMMU_IOAS_MAP, &args) == 0 ? args.iova : 0;
}

static int unmap(uint64_t iova, uint64_t length)
{
	struct ioas_unmap args = { sizeof args, ioas, iova, length };

	return ioctl(iommu, IOMMU_IOAS_UNMAP, &args);
}

static void transfer(uint64_t source, uint64_t destination, uint64_t command)
{
	const uint64_t registers[][2] = { { source, SOURCE }, { destination, DESTINATION },
					  { MESSAGE, COUNT }, { command, START } };
	uint64_t running = 1;

	for (int i = 0; i < 4; i++)
		if (pwrite(device, &registers[i][0], 8, registers[i][1]) != 8)
			die("register");
	while (running & 1) {
		usleep(1000);
		if (pread(device, &running, 8, START) != 8)
			die("register");
	}
}

static void receive(const char *what, uint64_t iova, const char *at, const char *expected)
{
	transfer(BUFFER, iova, TO_MEMORY);
	printf("%s: %s\n", what, memcmp(at, expected, MESSAGE) == 0 ? "received" : "NOT received");
}

/* The device node of the first edu device. */
static void open_device(void)
{
	char path[600], vendor[8] = "";
	DIR *devices = opendir("/sys/bus/pci/devices"), *nodes;
	struct dirent *entry;

	while (devices != NULL && (entry = readdir(devices)) != NULL) {
		snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/device", entry->d_name);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, vendor, 6) != 6 || close(fd) != 0 || strncmp(vendor, "0x11e8", 6) != 0)
			continue;
		snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vfio-dev", entry->d_name);
		nodes = opendir(path);
		while (nodes != NULL && (entry = readdir(nodes)) != NULL)
			if (strncmp(entry->d_name, "vfio", 4) == 0)
				break;
		if (nodes == NULL || entry == NULL)
			break;
		snprintf(path, sizeof path, "/dev/vfio/devices/%s", entry->d_name);
		device = open(path, O_RDWR);
		if (device < 0)
			die(path);
		return;
	}
	fprintf(stderr, "There is no edu device.\n");
	exit(2);
}

static void attach_device(void)
{
	struct bind bind = { sizeof bind, 0, 0, 0 };
	struct ioas_alloc alloc = { sizeof alloc, 0, 0 };
	struct attach attach = { sizeof attach, 0, 0, 0 };
	uint16_t command = MEMORY_AND_BUS_MASTER;

	iommu = bind.iommufd = open("/dev/iommu", O_RDWR);
	if (iommu < 0 || ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind) != 0)
		die("bind");
	if (ioctl(iommu, IOMMU_IOAS_ALLOC, &alloc) != 0)
		die("IOMMU_IOAS_ALLOC");
	attach.pt_id = ioas = alloc.out_ioas_id;
	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) != 0)
		die("attach");
	if (pwrite(device, &command, sizeof command, CONFIG_COMMAND) != sizeof command)
		die("command register");
}

/* Where there is room for `length` bytes, from `from` on. */
static uint64_t usable_iova(uint64_t length, uint64_t from)
{
	struct iova_range ranges[64];
	struct iova_ranges args = { sizeof args, ioas, 64, 0, (uintptr_t)ranges, 0 };

	if (ioctl(iommu, IOMMU_IOAS_IOVA_RANGES, &args) != 0)
		die("IOMMU_IOAS_IOVA_RANGES");
	for (uint32_t i = 0; i < args.num_iovas; i++) {
		uint64_t start = ranges[i].start > from ? ranges[i].start : from;

		if (start <= ranges[i].last && ranges[i].last - start >= length - 1)
			return start;
	}
	fprintf(stderr, "There is no room for the buffer.\n");
	exit(2);
}

int main(void)
{
	open_device();
	attach_device();

	/* Mistake 1: this IOVA is free on the machine on the desk. */
#if FIXED < 1
	uint64_t out_iova = 0x8000000;
#else
	uint64_t out_iova = usable_iova(PAGE, 0x100000);
#endif
	char *out = memory(PAGE);
	strcpy(out, "a first message");
	if (map(out, PAGE, out_iova, MAP_FIXED_IOVA) == 0)
		die("mapping what is sent");
	transfer(out_iova, BUFFER, FROM_MEMORY);

	/* Mistake 2: without MAP_FIXED_IOVA the kernel chooses, and its choice is not looked at. */
	uint64_t in_iova = 0x9000000;
	char *in = memory(PAGE);
#if FIXED < 2
	map(in, PAGE, in_iova, 0);
#else
	in_iova = map(in, PAGE, 0, 0);
#endif
	receive("first message", in_iova, in, "a first message");

	/* Mistake 3: a larger buffer takes the place of a small one, or so it seems. The unmap has another
	 * length than the map, and neither its error nor that of the next map is looked at. */
	uint64_t second_iova = usable_iova(4 * PAGE, 0xa000000);
	char *small = memory(2 * PAGE), *large = memory(4 * PAGE);
	if (map(small, 2 * PAGE, second_iova, MAP_FIXED_IOVA) == 0)
		die("mapping the small buffer");
#if FIXED < 3
	unmap(second_iova, PAGE);
	map(large, 4 * PAGE, second_iova, MAP_FIXED_IOVA);
#else
	if (unmap(second_iova, 2 * PAGE) != 0)
		die("unmapping the small buffer");
	if (map(large, 4 * PAGE, second_iova, MAP_FIXED_IOVA) == 0)
		die("mapping the large buffer");
#endif
	strcpy(out, "a second one   ");
	transfer(out_iova, BUFFER, FROM_MEMORY);
	receive("second message", second_iova, large, "a second one   ");

	/* Mistake 4: memory that is mapped for DMA is freed, and then the device is told to use it. */
	strcpy(out, "the last one   ");
#if FIXED < 4
	munmap(out, PAGE);
	transfer(out_iova, BUFFER, FROM_MEMORY);
	unmap(out_iova, PAGE);
#else
	transfer(out_iova, BUFFER, FROM_MEMORY);
	unmap(out_iova, PAGE);
	munmap(out, PAGE);
#endif
	receive("last message", second_iova, large, "the last one   ");

	/* Mistake 5: the device's registers are mapped for DMA by their address, for other devices to reach. */
#if FIXED < 5
	void *registers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (registers != MAP_FAILED && map(registers, PAGE, 0, 0) == 0)
		perror("mapping the registers");
#endif

	struct attach detach = { 8, 0, 0, 0 };
	struct destroy destroy = { sizeof destroy, ioas };
	unmap(0, UINT64_MAX);
	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT + 1, &detach) != 0)
		die("detach");
	if (ioctl(iommu, IOMMU_DESTROY, &destroy) != 0)
		die("IOMMU_DESTROY");
	return 0;
}
