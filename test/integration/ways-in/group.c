/* Group and container: BDF CONTAINER TYPE, where the container is /dev/vfio/vfio or an iommufd. */
#include "edu.h"

struct map { uint32_t argsz, flags; uint64_t vaddr, iova, size; };
struct unmap { uint32_t argsz, flags; uint64_t iova, size; };

int main(int argc, char **argv) {
  CHECK(argc == 4);
  unsigned long type = strtoul(argv[3], NULL, 0);
  int container = open(argv[2], O_RDWR);
  CHECK(container >= 0);
  CHECK(ioctl(container, VFIO_GET_API_VERSION) == 0);
  /* An iommufd has no IOAS for a container before it is asked for one; a native one knows its types. */
  int group = open_group(argv[1]);
  CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0);
  CHECK(ioctl(container, VFIO_CHECK_EXTENSION, type) == 1);
  CHECK(ioctl(container, VFIO_SET_IOMMU, type) == 0);
  int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
  CHECK(device >= 0);

  uint8_t *bytes = memory();
  struct map map = {sizeof map, 3, (uintptr_t)bytes, IOVA, MEMORY};
  CHECK(ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0);
  enable(device);
  int event = msi(device);
  exercise(device, event, bytes, IOVA);
  misses(device, event, bytes, IOVA, IOVA + MEMORY);

  /* Unmapped: the same addresses lead nowhere. */
  struct unmap unmap = {sizeof unmap, 0, IOVA, MEMORY};
  CHECK(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0 && unmap.size == MEMORY);
  memset(bytes, 0x5a, MEMORY);
  transfer(device, event, DEVICE_BUFFER, IOVA, MOST, TO_MEMORY);
  for (uint64_t i = 0; i < MEMORY; i++) CHECK(bytes[i] == 0x5a);
  CHECK(close(device) == 0 && close(group) == 0 && close(container) == 0);
  puts("right");
}
