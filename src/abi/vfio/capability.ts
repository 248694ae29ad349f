/** Capability chains, as GET_INFO and GET_REGION_INFO append to their answers. */
import { u16, u32 } from '../fields.ts'
import { struct } from '../layout.ts'

/** Begins every element of a capability chain. */
export const vfio_info_cap_header = struct('vfio_info_cap_header', {
  id: u16('out', 'Which capability.'),
  version: u16('out', 'Version of its layout.'),
  next: u32('out', 'Offset of the next one from the start of the whole answer; 0 ends the chain.'),
})
