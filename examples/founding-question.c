/*
 * One container, two address spaces: what IOMMU_VFIO_IOAS SET does to a VFIO program.
 *
 * An ordinary VFIO program: it opens /dev/iommu, uses it as the container of two groups, and takes
 * one device from each. Between the two it changes the context's compatibility IOAS. Which IOAS a
 * device is on shows in what it reads by DMA: the same I/O address is mapped to other memory in each.
 *
 * Nothing here knows what serves the calls.
 *
 *     cc -o founding-question founding-question.c
 *     ./founding-question 7 scratch0 8 scratch1        (GROUP DEVICE GROUP DEVICE)
 *
 * Both devices must be "scratch" devices. founding-question.py is the same program in Python.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The few declarations of <linux/vfio.h> and <linux/iommufd.h> that are used, so that any headers do. */
#define VFIO_TYPE1v2_IOMMU 3
#define VFIO_GET_API_VERSION 0x3b64
#define VFIO_CHECK_EXTENSION 0x3b65
#define VFIO_SET_IOMMU 0x3b66
#define VFIO_GROUP_GET_STATUS 0x3b67
#define VFIO_GROUP_SET_CONTAINER 0x3b68
#define VFIO_GROUP_GET_DEVICE_FD 0x3b6a
#define VFIO_DEVICE_GET_REGION_INFO 0x3b6c
#define VFIO_IOMMU_MAP_DMA 0x3b71
#define IOMMU_DESTROY 0x3b80
#define IOMMU_IOAS_ALLOC 0x3b81
#define IOMMU_VFIO_IOAS 0x3b88
enum { VFIO_IOAS_GET, VFIO_IOAS_SET };
enum { MAP_READ = 1, MAP_WRITE = 2, GROUP_VIABLE = 1 };

struct group_status { uint32_t argsz, flags; };
struct region_info { uint32_t argsz, flags, index, cap_offset; uint64_t size, offset; };
struct dma_map { uint32_t argsz, flags; uint64_t vaddr, iova, size; };
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct vfio_ioas { uint32_t size, ioas_id; uint16_t op, reserved; };
struct destroy { uint32_t size, id; };

/* The scratch device's registers, offsets in its only region. */
enum {
	REG_IDENT = 0x00, /* reads "SRCH" */
	REG_DMA_IOVA = 0x08, /* 64 bits */
	REG_DMA_LENGTH = 0x10,
	REG_COMMAND = 0x14,
	REG_STATUS = 0x18, /* errno of the last command */
	BUFFER = 0x1000, /* 4096 bytes that DMA fills and empties */
};
enum { COMMAND_READ = 1, COMMAND_WRITE = 2 };

#define IOVA 0x100000

struct scratch { const char *name; int fd; uint64_t region; };

static const char *error_name(int error)
{
	switch (error) {
	case ENOENT: return "ENOENT";
	case EBUSY: return "EBUSY";
	case EEXIST: return "EEXIST";
	case ENODEV: return "ENODEV";
	case EINVAL: return "EINVAL";
	case EPERM: return "EPERM";
	case EFAULT: return "EFAULT";
	default: return strerror(error);
	}
}

static void die(const char *what)
{
	fprintf(stderr, "founding-question: cannot go on: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Tells the reader the result of a call and passes it on. */
static int told(const char *description, int result)
{
	if (result < 0)
		printf("   %s  ->  %s\n", description, error_name(errno));
	else
		printf("   %s  ->  %d\n", description, result);
	return result;
}

static int must(const char *description, int result)
{
	if (told(description, result) < 0)
		die(description);
	return result;
}

/* The ID of the compat IOAS, or 0. */
static uint32_t vfio_ioas_get(int iommufd)
{
	struct vfio_ioas argument = { .size = sizeof(argument), .op = VFIO_IOAS_GET };

	if (ioctl(iommufd, IOMMU_VFIO_IOAS, &argument)) {
		printf("   IOMMU_VFIO_IOAS GET  ->  %s: there is none\n", error_name(errno));
		return 0;
	}
	printf("   IOMMU_VFIO_IOAS GET  ->  IOAS %u\n", argument.ioas_id);
	return argument.ioas_id;
}

static int vfio_ioas_set(int iommufd, uint32_t ioas)
{
	struct vfio_ioas argument = { .size = sizeof(argument), .ioas_id = ioas, .op = VFIO_IOAS_SET };
	char description[64];

	snprintf(description, sizeof(description), "IOMMU_VFIO_IOAS SET %u", ioas);
	return told(description, ioctl(iommufd, IOMMU_VFIO_IOAS, &argument));
}

static void destroy(int iommufd, uint32_t id)
{
	struct destroy argument = { sizeof(argument), id };
	char description[64];

	snprintf(description, sizeof(description), "IOMMU_DESTROY %u", id);
	told(description, ioctl(iommufd, IOMMU_DESTROY, &argument));
}

/* A page of memory that devices reach by DMA. */
static char *new_buffer(const char *text)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		die("mmap");
	strcpy(page, text);
	return page;
}

static int map_dma(int container, char *page, uint64_t iova)
{
	struct dma_map argument = {
		.argsz = sizeof(argument), .flags = MAP_READ | MAP_WRITE,
		.vaddr = (uintptr_t)page, .iova = iova, .size = 4096,
	};
	char description[128];

	snprintf(description, sizeof(description),
		 "VFIO_IOMMU_MAP_DMA %#llx -> the page that says \"%s\"", (unsigned long long)iova, page);
	return told(description, ioctl(container, VFIO_IOMMU_MAP_DMA, &argument));
}

static int open_group(const char *number)
{
	struct group_status status = { .argsz = sizeof(status) };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%s", number);
	fd = open(path, O_RDWR);
	if (fd < 0)
		die(path);
	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) || !(status.flags & GROUP_VIABLE)) {
		fprintf(stderr, "founding-question: group %s is not viable\n", number);
		exit(1);
	}
	return fd;
}

static void set_container(int group, const char *number, int container)
{
	char description[64];

	snprintf(description, sizeof(description), "VFIO_GROUP_SET_CONTAINER (group %s)", number);
	must(description, ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
}

static struct scratch get_device(int group, const char *name)
{
	struct region_info info = { .argsz = sizeof(info), .index = 0 };
	struct scratch device = { .name = name };
	char description[128], ident[4];

	snprintf(description, sizeof(description), "VFIO_GROUP_GET_DEVICE_FD %s", name);
	device.fd = must(description, ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
	if (ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		die("VFIO_DEVICE_GET_REGION_INFO");
	device.region = info.offset;
	if (pread(device.fd, ident, 4, device.region + REG_IDENT) != 4 || memcmp(ident, "SRCH", 4)) {
		fprintf(stderr, "founding-question: %s is not a scratch device\n", name);
		exit(1);
	}
	return device;
}

static void store(const struct scratch *device, uint64_t offset, const void *value, size_t length)
{
	if (pwrite(device->fd, value, length, device->region + offset) != (ssize_t)length)
		die("pwrite to a device");
}

static void load(const struct scratch *device, uint64_t offset, void *value, size_t length)
{
	if (pread(device->fd, value, length, device->region + offset) != (ssize_t)length)
		die("pread from a device");
}

/* Returns 0 or the errno that the device's status register reports. */
static uint32_t command(const struct scratch *device, uint32_t command, uint64_t iova, uint32_t length)
{
	uint32_t status;

	store(device, REG_DMA_IOVA, &iova, sizeof(iova));
	store(device, REG_DMA_LENGTH, &length, sizeof(length));
	store(device, REG_COMMAND, &command, sizeof(command));
	load(device, REG_STATUS, &status, sizeof(status));
	return status;
}

static void dma_read(const struct scratch *device, uint64_t iova, char text[64])
{
	uint32_t status = command(device, COMMAND_READ, iova, 64);

	printf("   %s reads %#llx by DMA: ", device->name, (unsigned long long)iova);
	text[0] = 0;
	if (status) {
		printf("%s\n", error_name(status));
		return;
	}
	load(device, BUFFER, text, 64);
	text[63] = 0;
	printf("\"%s\"\n", text);
}

static void dma_write(const struct scratch *device, uint64_t iova, const char *text)
{
	uint32_t status;

	store(device, BUFFER, text, strlen(text) + 1);
	status = command(device, COMMAND_WRITE, iova, strlen(text) + 1);
	printf("   %s writes \"%s\" to %#llx by DMA: %s\n", device->name, text,
	       (unsigned long long)iova, status ? error_name(status) : "done");
}

int main(int argc, char **argv)
{
	struct ioas_alloc alloc = { .size = sizeof(alloc) };
	struct scratch device1, device2;
	uint32_t automatic, current;
	char text1[64], text2[64], written[64];
	char *one, *two;
	int container, group1, group2, refused;

	if (argc != 5) {
		fprintf(stderr, "usage: %s GROUP DEVICE GROUP DEVICE\n", argv[0]);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);

	puts("1. Open /dev/iommu; it will be the container. Opening makes no IOAS.");
	container = open("/dev/iommu", O_RDWR);
	if (container < 0)
		die("/dev/iommu");
	told("VFIO_GET_API_VERSION", ioctl(container, VFIO_GET_API_VERSION));
	told("VFIO_CHECK_EXTENSION TYPE1v2", ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	vfio_ioas_get(container);

	puts("2. Put the first group into the container: the compat IOAS is made automatically.");
	group1 = open_group(argv[1]);
	set_container(group1, argv[1], container);
	automatic = vfio_ioas_get(container);
	must("VFIO_SET_IOMMU TYPE1v2", ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	one = new_buffer("memory one");
	if (map_dma(container, one, IOVA))
		die("VFIO_IOMMU_MAP_DMA");

	puts("3. Take the first device. It is given the compat IOAS, here and now.");
	device1 = get_device(group1, argv[2]);
	dma_read(&device1, IOVA, text1);

	puts("4. Allocate another IOAS and make it the compat IOAS, although the first is in use.");
	must("IOMMU_IOAS_ALLOC", ioctl(container, IOMMU_IOAS_ALLOC, &alloc));
	printf("   it is IOAS %u\n", alloc.out_ioas_id);
	refused = vfio_ioas_set(container, alloc.out_ioas_id) < 0;
	if (refused)
		puts("   Refused: this machine keeps a container in one address space.");
	two = new_buffer("memory two");
	map_dma(container, two, IOVA);

	puts("5. Put the second group into the same container and take its device.");
	group2 = open_group(argv[3]);
	set_container(group2, argv[3], container);
	current = vfio_ioas_get(container);
	device2 = get_device(group2, argv[4]);

	puts("6. Let both devices read the same address.");
	dma_read(&device1, IOVA, text1);
	dma_read(&device2, IOVA, text2);
	if (strcmp(text1, text2) == 0)
		printf("   One container, one address space: both devices are on IOAS %u.\n", current);
	else
		printf("   One container, two address spaces: %s stayed on IOAS %u, %s is on IOAS %u.\n",
		       device1.name, automatic, device2.name, current);
	snprintf(written, sizeof(written), "written by %s", device2.name);
	dma_write(&device2, IOVA, written);
	printf("   the pages say \"%s\" and \"%s\"\n", one, two);

	puts("7. The automatic IOAS is an ordinary object: in use it stays, unused it can be destroyed.");
	destroy(container, automatic);
	close(device1.fd);
	if (refused)
		close(device2.fd);
	puts("   (device closed)");
	vfio_ioas_set(container, automatic);
	destroy(container, automatic);
	vfio_ioas_get(container);

	puts("8. Close the container, the groups and the devices: whatever is left goes with them.");
	return 0;
}
