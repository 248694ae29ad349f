/*
 * What a driver does with an NVMe device, step by step; prints what it saw.
 *
 *	nvme-client BDF STEP [IMAGE]
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>

#include "nvme-driver.h"

#define DATA (nvme_memory + 0x100000)
#define LIST ((uint64_t *)(nvme_memory + 0xe0000))
#define RINGS (nvme_memory + 0x10000)

static void basic(void)
{
	uint8_t *data = DATA, *back = DATA + 0x100000;
	struct nvme_queue io;
	uint64_t count;
	int event;

	nvme_bus_master(1);
	event = nvme_eventfd(1);
	nvme_enable();
	printf("version %x\n", *nvme_register(REG_VS));
	nvme_must(&nvme_admin, (struct nvme_command){ .opcode = ADMIN_IDENTIFY, .prp1 = iova_of(data), .cdw10 = 1 });
	printf("vendor %x model %.28s\n", data[0] | data[1] << 8, data + 24);
	nvme_must(&nvme_admin, (struct nvme_command){ .opcode = ADMIN_IDENTIFY, .nsid = 1, .prp1 = iova_of(data) });
	printf("blocks %llu\n", (unsigned long long)*(uint64_t *)data);
	nvme_must(&nvme_admin, (struct nvme_command){ .opcode = ADMIN_SET_FEATURES, .cdw10 = 7, .cdw11 = 0x00030003 });
	io = nvme_create_queue(1, 64, RINGS, 1);
	/* 256 KiB and a bit, from the middle of a page. */
	for (int i = 0; i < 0x41000; i++)
		data[512 + i] = i * 7 + (i >> 8);
	nvme_must(&io, nvme_transfer(OP_WRITE, 1, 100, 520, data + 512, LIST));
	nvme_must(&io, (struct nvme_command){ .opcode = OP_FLUSH, .id = 2, .nsid = 1 });
	nvme_must(&io, nvme_transfer(OP_READ, 3, 100, 520, back, LIST));
	printf("read back %s\n", memcmp(data + 512, back, 520 * 512) == 0 ? "the same" : "different");
	if (read(event, &count, 8) != 8)
		count = 0;
	printf("interrupts %s\n", count >= 1 && count <= 3 ? "came" : "missing");
	nvme_must(&io, (struct nvme_command){ .opcode = OP_WRITE_ZEROES, .nsid = 1, .cdw10 = 104, .cdw12 = 7 | 1 << 25 });
	nvme_must(&io, nvme_transfer(OP_READ, 4, 104, 8, back, LIST));
	for (int i = 0; i < 4096; i++)
		if (back[i] != 0) {
			printf("not zero\n");
			break;
		}
	printf("beyond the end: %x\n", nvme_do(&io, nvme_transfer(OP_READ, 5, 1ull << 40, 1, back, LIST)).status);
	*nvme_register(REG_CC) = 0x00464001;
	for (double start = now(); (*nvme_register(REG_CSTS) & 0xc) != 8 && now() - start < 5;)
		usleep(100);
	printf("status after shutdown %x\n", *nvme_register(REG_CSTS));
}


static struct nvme_queue start(void)
{
	nvme_bus_master(1);
	nvme_enable();
	return nvme_create_queue(1, 64, RINGS, -1);
}

/* Reads of 128 KiB are under way into memory that is unmapped: once that has returned, nothing may change there. */
static void unmap(void)
{
	enum { COUNT = 16 };
	const uint64_t size = 128 << 10, iova = 1ull << 32;
	struct nvme_queue io = start();
	struct nvme_completion completion;
	uint8_t *memory = mmap(NULL, COUNT * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int spoiled = 0, done = 0, stopped = 0, other = 0;

	for (int round = 0; round < 200; round++) {
		nvme_map(iova, memory, COUNT * size);
		for (int slot = 0; slot < COUNT; slot++) {
			uint64_t at = iova + slot * size;

			for (int page = 1; page < 32; page++)
				LIST[slot * 64 + page] = at + page * PAGE;
			nvme_submit(&io, (struct nvme_command){ .opcode = OP_READ, .id = slot, .nsid = 1, .prp1 = at,
				.prp2 = iova_of(LIST + slot * 64 + 1), .cdw12 = 255 });
		}
		nvme_ring(&io);
		for (volatile int i = 0; i < round * 500; i++)
			;
		nvme_unmap(iova, COUNT * size);
		memset(memory, 0x55, COUNT * size);
		for (int reaped = 0; reaped < COUNT;) {
			if (!nvme_reap(&io, &completion)) {
				sched_yield();
				continue;
			}
			*io.head_doorbell = io.head;
			reaped++;
			if (completion.status >> 1 == 0)
				done++;
			else if (completion.status >> 1 == 0x4004)
				stopped++;
			else
				other++;
		}
		for (uint64_t i = 0; i < COUNT * size; i++)
			spoiled += memory[i] != 0x55;
	}
	printf("spoiled %d, other errors %d, reads %d, %s stopped\n", spoiled, other, done + stopped,
	       stopped > 0 ? "some" : "none");
}

/* What was flushed is in the image though the supervisor is killed. */
static void power_loss(void)
{
	struct nvme_queue io = start();

	memset(DATA, 0x77, 64 << 10);
	for (int i = 0; i < 16; i++)
		nvme_must(&io, nvme_transfer(OP_WRITE, i, 128 * i, 128, DATA, LIST));
	nvme_must(&io, (struct nvme_command){ .opcode = OP_FLUSH, .nsid = 1 });
	printf("flushed\n");
	fflush(stdout);
	kill(getppid(), SIGKILL);
}

/* Killed with 32 reads and writes under way. */
static void die(void)
{
	struct nvme_queue io = start();

	for (int i = 0; i < 32; i++)
		nvme_submit(&io, nvme_transfer(i & 1 ? OP_READ : OP_WRITE, i, 1024 + 256 * i, 256, DATA + ((i & 15) << 17),
					       LIST + i * 64));
	nvme_ring(&io);
	kill(getpid(), SIGKILL);
}

static sigjmp_buf bus_error;

static void on_bus_error(int number)
{
	(void)number;
	siglongjmp(bus_error, 1);
}

static void command_write(uint16_t value)
{
	if (pwrite(nvme_device, &value, 2, CONFIG_SPACE + 4) != 2)
		fail("COMMAND");
}

/* The mapping faults while memory is disabled; the controller goes on when it is enabled again. */
static void memory_off(void)
{
	struct nvme_queue io = start();
	uint32_t version;

	signal(SIGBUS, on_bus_error);
	command_write(4);
	if (sigsetjmp(bus_error, 1) == 0) {
		version = *nvme_register(REG_VS);
		printf("no fault: %x\n", version);
	} else {
		printf("fault\n");
	}
	command_write(6);
	printf("version %x status %x\n", *nvme_register(REG_VS), *nvme_register(REG_CSTS));
	nvme_must(&io, nvme_transfer(OP_READ, 1, 0, 256, DATA, LIST));
	printf("read\n");
}

/* A reset in the middle of reads; afterwards the controller is as new. */
static void reset(void)
{
	for (int round = 0; round < 20; round++) {
		struct nvme_queue io = start();

		for (int i = 0; i < 32; i++)
			nvme_submit(&io, nvme_transfer(OP_READ, i, 0, 256, DATA + ((i & 15) << 17), LIST + i * 64));
		nvme_ring(&io);
		if (ioctl(nvme_device, DEVICE_RESET) != 0)
			fail("VFIO_DEVICE_RESET");
		if (*nvme_register(REG_CC) != 0 || *nvme_register(REG_CSTS) != 0 || *nvme_register(REG_AQA) != 0) {
			printf("CC %x CSTS %x AQA %x\n", *nvme_register(REG_CC), *nvme_register(REG_CSTS),
			       *nvme_register(REG_AQA));
			return;
		}
	}
	nvme_enable();
	printf("status %x\n", *nvme_register(REG_CSTS));
}

/* Registers by pread and pwrite only. */
static void trapped(void)
{
	uint32_t values[] = { 0x001f001f, 0, 0, 0, 0 }, status = 0, configuration = 0x00460001, tail = 1;
	uint64_t queues[2] = { iova_of(nvme_memory), iova_of(nvme_memory + PAGE) };
	struct nvme_command *command = (struct nvme_command *)nvme_memory;
	volatile struct nvme_completion *completion = (void *)(nvme_memory + PAGE);

	munmap((void *)nvme_bar, BAR_SIZE);
	nvme_bus_master(1);
	command->opcode = ADMIN_IDENTIFY;
	command->id = 7;
	command->prp1 = iova_of(DATA);
	command->cdw10 = 1;
	if (pwrite(nvme_device, values, 4, REG_AQA) != 4 || pwrite(nvme_device, queues, 16, REG_ASQ) != 16 ||
	    pwrite(nvme_device, &configuration, 4, REG_CC) != 4)
		fail("registers");
	for (double begin = now(); status != 1 && now() - begin < 15;)
		if (pread(nvme_device, &status, 4, REG_CSTS) != 4)
			fail("CSTS");
	if (pwrite(nvme_device, &tail, 4, 0x1000) != 4)
		fail("doorbell");
	for (double begin = now(); (completion->status & 1) == 0 && now() - begin < 15;)
		sched_yield();
	printf("status %x completion %x of %d vendor %x\n", status, completion->status, completion->id, DATA[0] | DATA[1] << 8);
}

/* Queues that begin in the last page of all addresses: the first is mapped nowhere, the rest is not there. */
static void far_away(void)
{
	for (unsigned tail = 1; tail <= 101; tail += 100) {
		*nvme_register(REG_CC) = 0;
		nvme_wait_ready(0);
		nvme_bus_master(1);
		*nvme_register(REG_AQA) = 0x0fff0fff;
		*nvme_register(REG_ASQ) = *nvme_register(REG_ACQ) = 0xfffff000;
		*nvme_register(REG_ASQ + 4) = *nvme_register(REG_ACQ + 4) = 0xffffffff;
		*nvme_register(REG_CC) = 0x00460001;
		nvme_wait_ready(1);
		*nvme_register(0x1000) = tail;
		for (double begin = now(); *nvme_register(REG_CSTS) != 3 && now() - begin < 15;)
			usleep(100);
		printf("status %x\n", *nvme_register(REG_CSTS));
	}
	start();
	printf("status %x\n", *nvme_register(REG_CSTS));
}

/* The image becomes shorter while it is used. */
static void vanish(const char *image)
{
	struct nvme_queue io = start();

	if (truncate(image, 4096) != 0)
		fail("truncate");
	printf("read %x", nvme_do(&io, nvme_transfer(OP_READ, 1, 8, 8, DATA, LIST)).status);
	printf(" before %x", nvme_do(&io, nvme_transfer(OP_READ, 1, 0, 8, DATA, LIST)).status);
	printf(" write %x", nvme_do(&io, nvme_transfer(OP_WRITE, 1, 16, 8, DATA, LIST)).status);
	printf(" flush %x\n", nvme_do(&io, (struct nvme_command){ .opcode = OP_FLUSH, .nsid = 1 }).status);
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } steps[] = {
		{ "basic", basic }, { "unmap", unmap }, { "power-loss", power_loss }, { "die", die },
		{ "memory-off", memory_off }, { "reset", reset }, { "trapped", trapped },
		{ "far-away", far_away },
	};

	if (argc < 3) {
		fprintf(stderr, "usage: nvme-client BDF STEP [IMAGE]\n");
		return 2;
	}
	/* Two of these fit into the 8 MiB that an ordinary user may lock. */
	nvme_open(argv[1], 3 << 20);
	if (strcmp(argv[2], "vanish") == 0)
		vanish(argv[3]);
	for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (strcmp(argv[2], steps[i].name) == 0)
			steps[i].run();
	return 0;
}
