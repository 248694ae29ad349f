/*
 * A small user-space NVMe driver for tests and benchmarks: through the device's cdev and /dev/iommu, with
 * polled or interrupt-driven queues. Every failure ends the program with a sentence.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { IOAS_ALLOC = 0x3b81, IOAS_MAP = 0x3b85, IOAS_UNMAP = 0x3b86, SET_IRQS = 0x3b6e, BIND = 0x3b76,
       ATTACH = 0x3b77, DEVICE_RESET = 0x3b6f };
enum { REG_CAP = 0, REG_VS = 8, REG_CC = 0x14, REG_CSTS = 0x1c, REG_AQA = 0x24, REG_ASQ = 0x28, REG_ACQ = 0x30 };
enum { OP_FLUSH = 0, OP_WRITE = 1, OP_READ = 2, OP_WRITE_ZEROES = 8, OP_DSM = 9 };
enum { ADMIN_DELETE_SQ = 0, ADMIN_CREATE_SQ = 1, ADMIN_LOG = 2, ADMIN_DELETE_CQ = 4, ADMIN_CREATE_CQ = 5,
       ADMIN_IDENTIFY = 6, ADMIN_ABORT = 8, ADMIN_SET_FEATURES = 9, ADMIN_GET_FEATURES = 10, ADMIN_AER = 12 };

#define CONFIG_SPACE (7ull << 40)
#define BAR_SIZE 0x4000
#define PAGE 4096ull

struct nvme_command {
	uint8_t opcode, flags;
	uint16_t id;
	uint32_t nsid;
	uint64_t reserved, metadata, prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct nvme_completion {
	uint32_t result, reserved;
	uint16_t sq_head, sq_id, id, status;
};

struct nvme_queue {
	struct nvme_command *sq;
	volatile struct nvme_completion *cq;
	volatile uint32_t *tail_doorbell, *head_doorbell;
	uint32_t size, tail, head, phase;
};

/* What the device can reach: one buffer, mapped at IOVA 1 MiB. */
static int nvme_device, nvme_iommu;
static uint32_t nvme_ioas;
static volatile uint8_t *nvme_bar;
static uint8_t *nvme_memory;
static uint64_t nvme_memory_size;
static struct nvme_queue nvme_admin;
#define IOVA_BASE 0x100000ull
#define iova_of(pointer) (IOVA_BASE + (uint64_t)((const volatile uint8_t *)(pointer) - nvme_memory))

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static volatile uint32_t *nvme_register(int offset)
{
	return (volatile uint32_t *)(nvme_bar + offset);
}

static void nvme_wait_ready(uint32_t ready)
{
	double start = now();

	while ((*nvme_register(REG_CSTS) & 1) != ready) {
		if (now() - start > 15) {
			fprintf(stderr, "CSTS.RDY did not become %u (CSTS 0x%x)\n", ready, *nvme_register(REG_CSTS));
			exit(1);
		}
		usleep(100);
	}
}

static void nvme_bus_master(int on)
{
	uint16_t command;

	if (pread(nvme_device, &command, 2, CONFIG_SPACE + 4) != 2)
		fail("COMMAND");
	command = on ? command | 6 : command & ~4;
	if (pwrite(nvme_device, &command, 2, CONFIG_SPACE + 4) != 2)
		fail("COMMAND");
}

static void nvme_map(uint64_t iova, void *memory, uint64_t length)
{
	struct { uint32_t size, flags, ioas, reserved; uint64_t va, length, iova; } map = {
		40, 7, nvme_ioas, 0, (uintptr_t)memory, length, iova };

	if (ioctl(nvme_iommu, IOAS_MAP, &map) != 0)
		fail("IOMMU_IOAS_MAP");
}

static void nvme_unmap(uint64_t iova, uint64_t length)
{
	struct { uint32_t size, ioas; uint64_t iova, length; } unmap = { 24, nvme_ioas, iova, length };

	if (ioctl(nvme_iommu, IOAS_UNMAP, &unmap) != 0)
		fail("IOMMU_IOAS_UNMAP");
}

/* Opens the function, attaches it to an IOAS of its own, and maps BAR0 and `size` bytes of memory. */
static void nvme_open(const char *bdf, uint64_t size)
{
	char path[512];
	struct { uint32_t argsz, flags; int32_t iommufd; uint32_t devid; uint64_t token; } bind = { 24, 0, 0, 0, 0 };
	struct { uint32_t size, flags, id; } alloc = { 12, 0, 0 };
	struct { uint32_t argsz, flags, pt, pasid; } attach = { 16, 0, 0, 0 };
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	directory = opendir(path);
	if (directory == NULL)
		fail(path);
	while ((entry = readdir(directory)) != NULL)
		if (entry->d_name[0] != '.')
			snprintf(path, sizeof path, "/dev/vfio/devices/%.200s", entry->d_name);
	closedir(directory);
	nvme_device = open(path, O_RDWR | O_CLOEXEC);
	nvme_iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (nvme_device < 0 || nvme_iommu < 0)
		fail(path);
	bind.iommufd = nvme_iommu;
	if (ioctl(nvme_device, BIND, &bind) != 0)
		fail("VFIO_DEVICE_BIND_IOMMUFD");
	if (ioctl(nvme_iommu, IOAS_ALLOC, &alloc) != 0)
		fail("IOMMU_IOAS_ALLOC");
	nvme_ioas = attach.pt = alloc.id;
	if (ioctl(nvme_device, ATTACH, &attach) != 0)
		fail("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	nvme_memory_size = size;
	nvme_memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (nvme_memory == MAP_FAILED)
		fail("mmap of memory");
	nvme_map(IOVA_BASE, nvme_memory, size);
	nvme_bar = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nvme_device, 0);
	if (nvme_bar == MAP_FAILED)
		fail("mmap of BAR0");
}

static struct nvme_queue nvme_queue_at(int id, uint32_t size, void *sq, void *cq)
{
	struct nvme_queue queue = { sq, cq, nvme_register(0x1000 + 8 * id), nvme_register(0x1004 + 8 * id), size, 0, 0, 1 };

	memset(sq, 0, size * 64);
	memset(cq, 0, size * 16);
	return queue;
}

static void nvme_submit(struct nvme_queue *queue, struct nvme_command command)
{
	queue->sq[queue->tail] = command;
	queue->tail = (queue->tail + 1) % queue->size;
}

static void nvme_ring(struct nvme_queue *queue)
{
	__atomic_store_n(queue->tail_doorbell, queue->tail, __ATOMIC_RELEASE);
}

/* The next completion, or 0. The doorbell is rung by the caller. */
static int nvme_reap(struct nvme_queue *queue, struct nvme_completion *completion)
{
	uint16_t status = __atomic_load_n(&queue->cq[queue->head].status, __ATOMIC_ACQUIRE);

	if ((status & 1) != queue->phase)
		return 0;
	*completion = *(struct nvme_completion *)&queue->cq[queue->head];
	queue->head++;
	if (queue->head == queue->size) {
		queue->head = 0;
		queue->phase ^= 1;
	}
	return 1;
}

/* One command, and its completion. The status is that of the specification: without the phase. */
static struct nvme_completion nvme_do(struct nvme_queue *queue, struct nvme_command command)
{
	struct nvme_completion completion;
	double start = now();

	nvme_submit(queue, command);
	nvme_ring(queue);
	while (!nvme_reap(queue, &completion)) {
		if (now() - start > 30) {
			fprintf(stderr, "command 0x%x does not complete (CSTS 0x%x)\n", command.opcode, *nvme_register(REG_CSTS));
			exit(1);
		}
		sched_yield();
	}
	*queue->head_doorbell = queue->head;
	completion.status >>= 1;
	return completion;
}

static struct nvme_completion nvme_must(struct nvme_queue *queue, struct nvme_command command)
{
	struct nvme_completion completion = nvme_do(queue, command);

	if (completion.status != 0) {
		fprintf(stderr, "command 0x%x fails with status 0x%x\n", command.opcode, completion.status);
		exit(1);
	}
	return completion;
}

/* Resets and enables the controller. The first 64 KiB of the memory are for the admin queue. */
static void nvme_enable(void)
{
	*nvme_register(REG_CC) = 0;
	nvme_wait_ready(0);
	nvme_admin = nvme_queue_at(0, 32, nvme_memory, nvme_memory + PAGE);
	*nvme_register(REG_AQA) = 0x001f001f;
	*nvme_register(REG_ASQ + 4) = (iova_of(nvme_memory) >> 32);
	*nvme_register(REG_ASQ) = iova_of(nvme_memory);
	*nvme_register(REG_ACQ + 4) = iova_of(nvme_memory + PAGE) >> 32;
	*nvme_register(REG_ACQ) = iova_of(nvme_memory + PAGE);
	*nvme_register(REG_CC) = 0x00460000;
	*nvme_register(REG_CC) = 0x00460001;
	nvme_wait_ready(1);
}

/* I/O queue `id` with its rings at `at` (128 KiB are enough for 1024 entries). `vector` -1: no interrupts. */
static struct nvme_queue nvme_create_queue(int id, uint32_t size, uint8_t *at, int vector)
{
	uint8_t *cq = at + (size * 64 + PAGE - 1) / PAGE * PAGE;
	struct nvme_queue queue = nvme_queue_at(id, size, at, cq);
	uint32_t interrupts = vector < 0 ? 0 : 2 | (uint32_t)vector << 16;

	nvme_must(&nvme_admin, (struct nvme_command){ .opcode = ADMIN_CREATE_CQ, .id = 1, .prp1 = iova_of(cq),
		.cdw10 = (size - 1) << 16 | id, .cdw11 = 1 | interrupts });
	nvme_must(&nvme_admin, (struct nvme_command){ .opcode = ADMIN_CREATE_SQ, .id = 2, .prp1 = iova_of(at),
		.cdw10 = (size - 1) << 16 | id, .cdw11 = 1 | (uint32_t)id << 16 });
	return queue;
}

/* An eventfd for MSI-X vector `vector`. */
static int nvme_eventfd(int vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct { uint32_t argsz, flags, index, start, count; int32_t fd; } set = { 24, 0x24, 2, vector, 1, fd };

	if (fd < 0 || ioctl(nvme_device, SET_IRQS, &set) != 0)
		fail("VFIO_DEVICE_SET_IRQS");
	return fd;
}

/* Read or Write of `blocks` blocks of 512 bytes; `list` is a page for the PRP list, needed above two pages. */
static struct nvme_command nvme_transfer(int opcode, uint16_t id, uint64_t block, uint32_t blocks, uint8_t *data,
					 uint64_t *list)
{
	uint64_t iova = iova_of(data), length = blocks * 512ull, second = (iova & ~(PAGE - 1)) + PAGE;
	struct nvme_command command = { .opcode = opcode, .id = id, .nsid = 1, .prp1 = iova, .cdw10 = block,
		.cdw11 = block >> 32, .cdw12 = blocks - 1 };

	if (iova + length <= second)
		return command;
	if (iova + length <= second + PAGE) {
		command.prp2 = second;
		return command;
	}
	for (int i = 0; second + i * PAGE < iova + length; i++)
		list[i] = second + i * PAGE;
	command.prp2 = iova_of(list);
	return command;
}
