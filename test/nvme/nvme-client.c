/*
 * What a driver does with an NVMe device, step by step; prints what it saw.
 *
 *	nvme-client BDF basic            identify, write, flush, read back, interrupt
 */
#include "nvme-driver.h"

#define DATA (nvme_memory + 0x100000)
#define LIST ((uint64_t *)(nvme_memory + 0xf0000))
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

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: nvme-client BDF STEP\n");
		return 2;
	}
	nvme_open(argv[1], 16 << 20);
	if (strcmp(argv[2], "basic") == 0)
		basic();
	return 0;
}
