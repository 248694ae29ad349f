/* Device file and iommufd: BDF [PASID]. With a PASID, DMA goes through an address space of the PASID's own. */
#include "edu.h"

struct bind { uint32_t argsz, flags; int32_t iommufd; uint32_t devid; uint64_t token; };
struct attach { uint32_t argsz, flags, pt, pasid; };
struct alloc { uint32_t size, flags, id; };
struct map { uint32_t size, flags, ioas, reserved; uint64_t va, length, iova; };
struct unmap { uint32_t size, ioas; uint64_t iova, length; };
struct hwpt { uint32_t size, flags, devid, pt, out, reserved, type, length; uint64_t data; uint32_t fault, reserved2; };

static uint32_t ioas(int iommufd) {
  struct alloc alloc = {sizeof alloc, 0, 0};
  CHECK(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc) == 0);
  return alloc.id;
}

static void maps(int iommufd, uint32_t id, uint8_t *bytes) {
  struct map map = {sizeof map, 7, id, 0, (uintptr_t)bytes, MEMORY, IOVA};
  CHECK(ioctl(iommufd, IOMMU_IOAS_MAP, &map) == 0);
}

/* A page table that PASIDs can be attached to. */
static uint32_t hwpt(int iommufd, uint32_t devid, uint32_t id) {
  struct hwpt table = {.size = sizeof table, .flags = 8, .devid = devid, .pt = id};
  CHECK(ioctl(iommufd, IOMMU_HWPT_ALLOC, &table) == 0);
  return table.out;
}

static void without_pasid(int iommufd, int device, int event) {
  uint8_t *bytes = memory();
  uint32_t id = ioas(iommufd);
  struct attach attach = {sizeof attach, 0, id, 0};
  CHECK(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) == 0);
  maps(iommufd, id, bytes);
  exercise(device, event, bytes, IOVA);
  misses(device, event, bytes, IOVA, IOVA + MEMORY);
  struct unmap unmap = {sizeof unmap, id, IOVA, MEMORY};
  CHECK(ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap) == 0 && unmap.length == MEMORY);
  memset(bytes, 0x5a, MEMORY);
  transfer(device, event, DEVICE_BUFFER, IOVA, MOST, TO_MEMORY);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(bytes[i] == 0x5a);
}

/* The device and the PASID see different memory at one address. */
static void with_pasid(int iommufd, int device, int event, uint32_t devid, uint32_t pasid) {
  uint8_t *own = memory(), *other = memory();
  uint32_t own_id = ioas(iommufd), other_id = ioas(iommufd);
  uint32_t selected = 0x80000000u | pasid, none = 0;
  struct attach attach = {sizeof attach, 0, hwpt(iommufd, devid, own_id), 0};
  CHECK(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) == 0);
  struct attach extra = {sizeof extra, 1, hwpt(iommufd, devid, other_id), pasid};
  CHECK(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &extra) == 0);
  maps(iommufd, own_id, own);
  maps(iommufd, other_id, other);

  CHECK(pwrite(device, &selected, 4, PASID) == 4);
  memset(own, 0x5a, MEMORY);
  exercise(device, event, other, IOVA);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(own[i] == 0x5a);
  CHECK(pwrite(device, &none, 4, PASID) == 4);
  memset(other, 0x5a, MEMORY);
  exercise(device, event, own, IOVA);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(other[i] == 0x5a);

  /* A PASID that is not attached reaches nothing. */
  selected += 1;
  CHECK(pwrite(device, &selected, 4, PASID) == 4);
  memset(own, 0x5a, MEMORY);
  transfer(device, event, DEVICE_BUFFER, IOVA, MOST, TO_MEMORY);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(own[i] == 0x5a && other[i] == 0x5a);
}

int main(int argc, char **argv) {
  CHECK(argc == 2 || argc == 3);
  int device = open_cdev(argv[1]);
  int iommufd = open("/dev/iommu", O_RDWR);
  CHECK(iommufd >= 0);
  struct bind bind = {24, 0, iommufd, 0, 0};
  CHECK(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind) == 0);
  enable(device);
  int event = msi(device);
  if (argc == 2) without_pasid(iommufd, device, event);
  else with_pasid(iommufd, device, event, bind.devid, strtoul(argv[2], NULL, 0));
  CHECK(close(device) == 0 && close(iommufd) == 0);
  puts("right");
}
