/*
 * Times an NVMe device as a driver sees it, and pread of the image behind it; prints lines "NAME VALUE...".
 *
 *	nvme-client BDF IMAGE SECONDS	through the device
 *	nvme-client pread IMAGE SECONDS	by pread, for comparison; not to be run under simulation, which traps it
 *
 * "NAME OPERATIONS_PER_SECOND MEDIAN_US P99_US CPU" for each pattern: CPU is that of the supervisor in
 * percent of a processor. The patterns read the whole image at random or from its start on.
 */
#include "nvme-driver.h"

#define RINGS (nvme_memory + 0x10000)
#define DATA (nvme_memory + 0x200000)
#define MAX_DEPTH 64
#define MAX_SAMPLES 2000000

static uint64_t image_blocks;
static double seconds;
static float samples[MAX_SAMPLES];

static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* Processor time of the supervisor, which is our parent. */
static double supervisor_time(void)
{
	char path[64], line[1024], *after;
	unsigned long user, system;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", getppid());
	file = fopen(path, "r");
	if (file == NULL || fgets(line, sizeof line, file) == NULL)
		return 0;
	fclose(file);
	after = strrchr(line, ')');
	if (sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
		return 0;
	return (double)(user + system) / sysconf(_SC_CLK_TCK);
}

static uint64_t block_at(long n, uint32_t blocks, int sequential)
{
	uint64_t places = image_blocks / blocks;

	return (sequential ? (uint64_t)n % places : next_random() % places) * blocks;
}

static void report(const char *name, long done, double elapsed, double cpu)
{
	long count = done < MAX_SAMPLES ? done : MAX_SAMPLES;

	qsort(samples, count, sizeof samples[0], by_value);
	printf("%s %.0f %.1f %.1f %.1f\n", name, done / elapsed, samples[count / 2], samples[count * 99 / 100],
	       100 * cpu / elapsed);
	fflush(stdout);
}

/* Keeps `depth` reads of `blocks` blocks under way. */
static void through_device(const char *name, struct nvme_queue *io, int depth, uint32_t blocks, int sequential)
{
	double begun[MAX_DEPTH], start = now(), time = start, cpu = supervisor_time();
	long submitted = 0, done = 0;
	uint8_t *lists = DATA, *buffers = DATA + MAX_DEPTH * PAGE;
	struct nvme_completion completion;

	for (int slot = 0; slot < depth; slot++, submitted++) {
		begun[slot] = now();
		nvme_submit(io, nvme_transfer(OP_READ, slot, block_at(submitted, blocks, sequential), blocks,
					      buffers + slot * blocks * 512ull, (uint64_t *)(lists + slot * PAGE)));
	}
	nvme_ring(io);
	while (done < submitted) {
		int reaped = 0, more = 0;

		while (nvme_reap(io, &completion)) {
			int slot = completion.id;

			if (completion.status >> 1 != 0) {
				fprintf(stderr, "a read fails with status 0x%x\n", completion.status >> 1);
				exit(1);
			}
			time = now();
			if (done < MAX_SAMPLES)
				samples[done] = (time - begun[slot]) * 1e6;
			done++;
			reaped = 1;
			if (time - start < seconds) {
				begun[slot] = time;
				nvme_submit(io, nvme_transfer(OP_READ, slot, block_at(submitted, blocks, sequential), blocks,
							      buffers + slot * blocks * 512ull, (uint64_t *)(lists + slot * PAGE)));
				submitted++;
				more = 1;
			}
		}
		if (reaped)
			*io->head_doorbell = io->head;
		if (more)
			nvme_ring(io);
	}
	report(name, done, now() - start, supervisor_time() - cpu);
}

static void through_pread(const char *name, int fd, uint32_t blocks, int sequential)
{
	double start = now(), time = start, before;
	long done = 0;

	while (time - start < seconds) {
		before = time;
		if (pread(fd, DATA, blocks * 512ull, block_at(done, blocks, sequential) * 512) != (ssize_t)(blocks * 512ull))
			fail("pread");
		time = now();
		if (done < MAX_SAMPLES)
			samples[done] = (time - before) * 1e6;
		done++;
	}
	report(name, done, time - start, 0);
}

static void idle(void)
{
	double start = now(), cpu = supervisor_time();

	usleep(seconds * 1e6);
	printf("idle 0 0 0 %.2f\n", 100 * (supervisor_time() - cpu) / (now() - start));
}

static int open_image(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) != 0)
		fail(path);
	image_blocks = status.st_size / 512;
	return fd;
}

static int time_pread(const char *image)
{
	int fd = open_image(image);

	nvme_memory = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	through_pread("random-4k", fd, 8, 0);
	through_pread("sequential-128k", fd, 256, 1);
	return 0;
}

int main(int argc, char **argv)
{
	struct nvme_queue io;

	if (argc != 4) {
		fprintf(stderr, "usage: nvme-client BDF|pread IMAGE SECONDS\n");
		return 2;
	}
	seconds = atof(argv[3]);
	if (strcmp(argv[1], "pread") == 0)
		return time_pread(argv[2]);
	close(open_image(argv[2]));
	nvme_open(argv[1], 32 << 20);
	nvme_bus_master(1);
	nvme_enable();
	io = nvme_create_queue(1, 128, RINGS, -1);
	through_device("random-4k-1", &io, 1, 8, 0);
	through_device("random-4k-32", &io, 32, 8, 0);
	through_device("sequential-128k-8", &io, 8, 256, 1);
	idle();
	return 0;
}
