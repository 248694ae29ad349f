/*
 * Times ioctls as a client sees them, and prints a line "NAME NANOSECONDS FAILED CPU" for each kind of
 * call: time of a call, how many failed, and the nanoseconds of a processor that a call took from the client
 * and from its parent (the supervisor's main thread). The last one hardly depends on what else is running.
 *
 *	ioctl-client CALLS
 *
 * It knows nothing of who answers. What is answered does not change what is called, so that it can also be
 * timed under the least supervisor, whose answers mean nothing.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { DESTROY = 0x3b80, IOAS_ALLOC = 0x3b81, IOVA_RANGES = 0x3b84, IOAS_MAP = 0x3b85, IOAS_UNMAP = 0x3b86,
       OPTION = 0x3b87 };
enum { FIXED_IOVA = 1, WRITEABLE = 2, READABLE = 4 };

#define PAGE 4096ull
#define BUFFER_PAGES 4096

/* Every structure begins with its size and fits here: the least supervisor always copies 40 bytes. */
union argument {
	uint32_t size;
	struct { uint32_t size, id; } destroy;
	struct { uint32_t size, flags, out_ioas_id; } alloc;
	struct { uint32_t size, ioas_id, num_iovas, reserved; uint64_t allowed_iovas, alignment; } ranges;
	struct { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; } map;
	struct { uint32_t size, ioas_id; uint64_t iova, length; } unmap;
	struct { uint32_t size, option_id; uint16_t op, reserved; uint32_t object_id; uint64_t val64; } option;
	char bytes[64];
};

static int iommufd;
static char *buffer;

static double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static uint32_t new_ioas(void)
{
	union argument a = { .alloc = { .size = 12 } };

	ioctl(iommufd, IOAS_ALLOC, &a);
	return a.alloc.out_ioas_id;
}

static int option_get(uint32_t ioas, long i)
{
	union argument a = { .option = { .size = 24, .op = 1 } };

	(void)ioas, (void)i;
	return ioctl(iommufd, OPTION, &a);
}

static int iova_ranges(uint32_t ioas, long i)
{
	static uint64_t ranges[2];
	union argument a = { .ranges = { .size = 32, .ioas_id = ioas, .num_iovas = 1 } };

	(void)i;
	a.ranges.allowed_iovas = (uintptr_t)ranges;
	return ioctl(iommufd, IOVA_RANGES, &a);
}

static int map_fixed(uint32_t ioas, long i)
{
	union argument a = { .map = { .size = 40, .flags = FIXED_IOVA | WRITEABLE | READABLE, .ioas_id = ioas } };

	a.map.user_va = (uintptr_t)buffer + i % BUFFER_PAGES * PAGE;
	a.map.length = PAGE;
	a.map.iova = i * 2 * PAGE;
	return ioctl(iommufd, IOAS_MAP, &a);
}

static int unmap(uint32_t ioas, long i)
{
	union argument a = { .unmap = { .size = 24, .ioas_id = ioas, .iova = i * 2 * PAGE, .length = PAGE } };

	return ioctl(iommufd, IOAS_UNMAP, &a);
}

static int map_auto(uint32_t ioas, long i)
{
	union argument a = { .map = { .size = 40, .flags = WRITEABLE | READABLE, .ioas_id = ioas } };

	a.map.user_va = (uintptr_t)buffer + i % BUFFER_PAGES * PAGE;
	a.map.length = PAGE;
	return ioctl(iommufd, IOAS_MAP, &a);
}

/* Of this thread and of the parent's main thread, in nanoseconds; that of the parent from schedstat. */
static double processor_time(void)
{
	struct timespec own;
	char path[64];
	double parent = 0;
	FILE *file;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)getppid());
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lf", &parent) != 1)
		parent = 0;
	if (file)
		fclose(file);
	return own.tv_sec * 1e9 + own.tv_nsec + parent;
}

static void time_calls(const char *name, int (*call)(uint32_t, long), uint32_t ioas, long calls)
{
	double used = processor_time(), start = nanoseconds(), end;
	long failed = 0;

	for (long i = 0; i < calls; i++)
		failed += call(ioas, i) < 0;
	end = nanoseconds();
	used = processor_time() - used;
	if (name)
		printf("%s %.1f %ld %.1f\n", name, (end - start) / calls, failed, used / calls);
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 10000;
	uint32_t warm, ioas;

	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	buffer = mmap(NULL, BUFFER_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (iommufd < 0 || buffer == MAP_FAILED) {
		perror("/dev/iommu");
		return 1;
	}
	memset(buffer, 1, BUFFER_PAGES * PAGE);
	/* Whoever answers may compile its code as it goes. */
	warm = new_ioas();
	time_calls(NULL, option_get, warm, calls / 4);
	time_calls(NULL, map_fixed, warm, calls / 4);
	time_calls(NULL, unmap, warm, calls / 4);
	time_calls(NULL, map_auto, warm, calls / 4);

	ioas = new_ioas();
	time_calls("option_get", option_get, ioas, calls);
	time_calls("iova_ranges", iova_ranges, ioas, calls);
	time_calls("map_fixed", map_fixed, ioas, calls);
	time_calls("unmap", unmap, ioas, calls);
	time_calls("map_auto", map_auto, ioas, calls);
	return 0;
}
