/**
 * Reasons that no test reaches, each with why. Whatever is reached after all is taken out again: a run of
 * all tests complains otherwise.
 */
export const unreachedReasons: Readonly<Record<string, string>> = {
  'no-free-id': 'it takes 2147483647 objects',
  'process-memory-gone': 'the engine asks before whether the process is gone (address-space-gone)',
  'file-system-full': 'it takes a tmpfs that is full, which an ordinary user cannot mount',
  'file-no-memory': 'it takes a machine whose free huge pages have run out',
  'smmu-coherency-not-enforced':
    'a page table of an SMMU enforces coherency only where the SMMU can, for all of its devices',
  'mock-queue-not-translated': 'the engine pins what the parent page table translates',
  'test-revoke-foreign-dma-buf': 'there are no dma-bufs but those of the test interface',
}

/** Reasons of host/ that only a process under `run` meets: without one, nothing reaches them. */
export const reasonsUnderRun: readonly string[] = [
  'page-not-mapped',
  'page-not-writable',
  'page-not-readable',
  'page-is-device-memory',
  'page-of-tracked-file',
  'file-is-not-memory',
  'file-too-short',
  'fail-nth-not-a-count',
  'no-descriptor-left',
]
