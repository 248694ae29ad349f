/*
 * What the programs of the ways in have in common: an edu device, once its descriptor is had and memory is
 * mapped for it. Each exits with 0 when every byte and every interrupt was right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(what)                                                                     \
  do {                                                                                  \
    if (!(what)) {                                                                      \
      fprintf(stderr, "%s:%d: %s failed (%s)\n", __FILE__, __LINE__, #what, strerror(errno)); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

#define VFIO(n) (0x3b64 + (n))
enum {
  VFIO_GET_API_VERSION = VFIO(0),
  VFIO_CHECK_EXTENSION = VFIO(1),
  VFIO_SET_IOMMU = VFIO(2),
  VFIO_GROUP_GET_STATUS = VFIO(3),
  VFIO_GROUP_SET_CONTAINER = VFIO(4),
  VFIO_GROUP_GET_DEVICE_FD = VFIO(6),
  VFIO_DEVICE_SET_IRQS = VFIO(10),
  VFIO_IOMMU_MAP_DMA = VFIO(13),
  VFIO_IOMMU_UNMAP_DMA = VFIO(14),
  VFIO_DEVICE_BIND_IOMMUFD = VFIO(18),
  VFIO_DEVICE_ATTACH_IOMMUFD_PT = VFIO(19),
  IOMMU_IOAS_ALLOC = 0x3b81,
  IOMMU_IOAS_MAP = 0x3b85,
  IOMMU_IOAS_UNMAP = 0x3b86,
  IOMMU_HWPT_ALLOC = 0x3b89,
};

#define CONFIG (7ULL << 40)
#define SOURCE 0x80
#define DESTINATION 0x88
#define COUNT 0x90
#define COMMAND 0x98
#define PASID 0xa0
#define DEVICE_BUFFER 0x40000ULL
#define TO_MEMORY 2
#define WITH_INTERRUPT 4

/* As much as one transfer moves: older QEMUs stop altogether when the last byte of the buffer is touched. */
#define MOST (PAGE - 1)
/* Memory of the program: four pages, where the device moves bytes between the first and the others. */
#define PAGE 4096ULL
#define MEMORY (4 * PAGE)
#define IOVA 0x100000ULL

static uint8_t *memory(void) {
  uint8_t *bytes = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(bytes != MAP_FAILED);
  return bytes;
}

static void store(int device, uint64_t at, uint64_t value) {
  CHECK(pwrite(device, &value, 8, at) == 8);
}

static uint64_t load(int device, uint64_t at) {
  uint64_t value = 0;
  CHECK(pread(device, &value, 8, at) == 8);
  return value;
}

/* Memory and bus master; without them a device neither answers nor does DMA. */
static void enable(int device) {
  uint16_t command = 0;
  CHECK(pread(device, &command, 2, CONFIG + 4) == 2);
  CHECK((command & 4) == 0);
  command |= 6;
  CHECK(pwrite(device, &command, 2, CONFIG + 4) == 2);
}

static int msi(int device) {
  int event = eventfd(0, EFD_NONBLOCK);
  struct { uint32_t argsz, flags, index, start, count; int32_t fd; } set = {24, 0x24, 1, 0, 1, event};
  CHECK(event >= 0);
  CHECK(ioctl(device, VFIO_DEVICE_SET_IRQS, &set) == 0);
  return event;
}

/* One interrupt, and no more. */
static void awaits(int event) {
  struct pollfd ready = {event, POLLIN, 0};
  uint64_t count = 0;
  CHECK(poll(&ready, 1, 5000) == 1);
  CHECK(read(event, &count, 8) == 8 && count == 1);
  CHECK(read(event, &count, 8) == -1 && errno == EAGAIN);
}

static void transfer(int device, int event, uint64_t source, uint64_t destination, uint64_t count, int how) {
  store(device, SOURCE, source);
  store(device, DESTINATION, destination);
  store(device, COUNT, count);
  store(device, COMMAND, 1 | how | WITH_INTERRUPT);
  awaits(event);
  CHECK((load(device, COMMAND) & 1) == 0);
  uint32_t why = 0, all = ~0u;
  CHECK(pread(device, &why, 4, 0x24) == 4 && why == 0x100);
  CHECK(pwrite(device, &all, 4, 0x64) == 4);
}

static uint8_t pattern(uint64_t i) { return (uint8_t)(i * 7 + (i >> 8) * 13 + 1); }

/* Out of `bytes` into the device and back behind it; every byte of the memory is checked. */
static void there_and_back(int device, int event, uint8_t *bytes, uint64_t iova, uint64_t from, uint64_t to,
                           uint64_t count) {
  for (uint64_t i = 0; i < MEMORY; i++) bytes[i] = pattern(i);
  transfer(device, event, iova + from, DEVICE_BUFFER, count, 0);
  transfer(device, event, DEVICE_BUFFER, iova + to, count, TO_MEMORY);
  for (uint64_t i = 0; i < MEMORY; i++) {
    uint8_t wanted = i >= to && i < to + count ? pattern(from + i - to) : pattern(i);
    if (bytes[i] != wanted) {
      fprintf(stderr, "byte %llu is %d, not %d\n", (unsigned long long)i, bytes[i], wanted);
      exit(1);
    }
  }
}

/* Almost a page, odd lengths, across pages, a single byte. */
static void exercise(int device, int event, uint8_t *bytes, uint64_t iova) {
  there_and_back(device, event, bytes, iova, 0, PAGE, MOST);
  there_and_back(device, event, bytes, iova, 4095, 2 * PAGE + 1, 3001);
  there_and_back(device, event, bytes, iova, 17, MEMORY - 1, 1);
}

/* Memory that is not mapped: reads give zeroes, writes are lost, the device goes on. */
static void misses(int device, int event, uint8_t *bytes, uint64_t iova, uint64_t unmapped) {
  for (uint64_t i = 0; i < MEMORY; i++) bytes[i] = pattern(i);
  transfer(device, event, DEVICE_BUFFER, unmapped, MOST, TO_MEMORY);
  transfer(device, event, unmapped, DEVICE_BUFFER, MOST, 0);
  transfer(device, event, DEVICE_BUFFER, iova, MOST, TO_MEMORY);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(bytes[i] == (i < MOST ? 0 : pattern(i)));
}

/* What is found in sysfs. */
static int group_of(const char *bdf) {
  char path[256], target[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
  ssize_t length = readlink(path, target, sizeof target - 1);
  CHECK(length > 0);
  target[length] = 0;
  return atoi(strrchr(target, '/') + 1);
}

static int open_cdev(const char *bdf) {
  char path[256];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vfio-dev", bdf);
  DIR *directory = opendir(path);
  CHECK(directory != NULL);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (strncmp(entry->d_name, "vfio", 4) == 0)
      snprintf(path, sizeof path, "/dev/vfio/devices/%s", entry->d_name);
  closedir(directory);
  int device = open(path, O_RDWR);
  CHECK(device >= 0);
  return device;
}

static int open_group(const char *bdf) {
  char path[64];
  struct { uint32_t argsz, flags; } status = {8, 0};
  snprintf(path, sizeof path, "/dev/vfio/%d", group_of(bdf));
  int group = open(path, O_RDWR);
  CHECK(group >= 0);
  CHECK(ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0 && status.flags == 1);
  return group;
}
