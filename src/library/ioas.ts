import { byteLength, type Iova, iova, type ObjectId, userVa } from '../abi/brands.ts'
import {
  IOMMU_IOAS_ALLOW_IOVAS,
  IOMMU_IOAS_COPY,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_UNMAP,
  IOMMUFD_IOAS_MAP_FLAGS,
  iommu_iova_range,
} from '../abi/iommufd/ioas.ts'
import { type AreaView, Ioas as EngineIoas, type IovaRange } from '../engine/ioas.ts'
import type { Iommufd } from './iommufd.ts'
import { IommufdError } from './iommufd-error.ts'

/** What devices may do with a mapping; both, where nothing is said. */
export interface Permissions {
  readonly readable?: boolean
  readonly writable?: boolean
}

export interface MapOptions extends Permissions {
  /** Address of the first byte in the program's memory: `buffer.address`. */
  readonly userVa: bigint
  /** Bytes. */
  readonly length: bigint
  /** Where to map; the kernel chooses when absent. */
  readonly iova?: bigint
}

export interface CopyOptions extends Permissions {
  /** The address space that has the mapping; may be the same. */
  readonly from: Ioas
  /** First IOVA of the range to share. */
  readonly fromIova: bigint
  /** Bytes. */
  readonly length: bigint
  /** Where to map; the kernel chooses when absent. */
  readonly iova?: bigint
}

export interface UsableRanges {
  /** Every IOVA and length must be a multiple of it: a power of two from 1 to 4096. */
  readonly alignment: bigint
  /** Inclusive, ascending. */
  readonly ranges: readonly IovaRange[]
}

/** As many ranges as are asked for at once. */
const FIRST_RANGES = 32

/** An I/O address space of a context. Made by `Iommufd.allocIoas()`. */
export class Ioas {
  readonly iommufd: Iommufd
  readonly id: ObjectId

  /** Names an IOAS that exists: an ID learned through IOMMU_VFIO_IOAS, for one. */
  constructor(iommufd: Iommufd, id: ObjectId) {
    this.iommufd = iommufd
    this.id = id
  }

  /**
   * IOMMU_IOAS_MAP. Returns the IOVA. Throws IommufdError: EEXIST where something is mapped already,
   * EINVAL for what is not aligned or reserved, EOVERFLOW, ENOSPC, EFAULT, ENOMEM (01 §12).
   */
  map({ userVa: address, length, iova: at, ...permissions }: MapOptions): Iova {
    return this.iommufd.call(IOMMU_IOAS_MAP, {
      flags: mapFlags(at, permissions),
      ioas_id: this.id,
      user_va: userVa(address),
      length: byteLength(length),
      iova: iova(at ?? 0n),
    }).iova
  }

  /**
   * IOMMU_IOAS_COPY: maps memory that is mapped elsewhere once more, sharing its pages. Returns the
   * IOVA. Throws IommufdError: ENOENT where the source is not wholly mapped, EPERM for writing what was
   * mapped for reading, and what `map` throws (01 §14).
   */
  copy({ from, fromIova, length, iova: at, ...permissions }: CopyOptions): Iova {
    return this.iommufd.call(IOMMU_IOAS_COPY, {
      flags: mapFlags(at, permissions),
      dst_ioas_id: this.id,
      src_ioas_id: from.id,
      length: byteLength(length),
      dst_iova: iova(at ?? 0n),
      src_iova: iova(fromIova),
    }).dst_iova
  }

  /**
   * IOMMU_IOAS_UNMAP of whole mappings within `[at, at+length)`. Returns the bytes that were mapped
   * there. Throws IommufdError: ENOENT where nothing is mapped or a mapping would be cut, EBUSY (01 §15).
   */
  unmap(at: bigint, length: bigint): bigint {
    return this.iommufd.call(IOMMU_IOAS_UNMAP, {
      ioas_id: this.id,
      iova: iova(at),
      length: byteLength(length),
    }).length
  }

  /** Unmaps everything; returns the bytes that were mapped. */
  unmapAll(): bigint {
    return this.unmap(0n, 0xffff_ffff_ffff_ffffn)
  }

  /** IOMMU_IOAS_IOVA_RANGES: what can be mapped, given what is attached (01 §10). */
  ranges(): UsableRanges {
    for (let room = FIRST_RANGES; ; ) {
      const array = new Uint8Array(room * iommu_iova_range.size)
      const { answer, refusal } = this.iommufd.attempt(
        IOMMU_IOAS_IOVA_RANGES,
        { ioas_id: this.id, num_iovas: room },
        { allowed_iovas: array },
      )
      // EMSGSIZE tells how many there are.
      if (refusal !== undefined && answer.num_iovas <= room)
        throw new IommufdError(IOMMU_IOAS_IOVA_RANGES.name, refusal)
      if (refusal === undefined)
        return {
          alignment: answer.out_iova_alignment,
          ranges: Array.from({ length: answer.num_iovas }, (_, i) =>
            iommu_iova_range.decode(
              array.subarray(i * iommu_iova_range.size, (i + 1) * iommu_iova_range.size),
            ),
          ),
        }
      room = answer.num_iovas
    }
  }

  /**
   * IOMMU_IOAS_ALLOW_IOVAS: automatic IOVAs come from these ranges only, which then stay usable; none
   * lifts the restriction. Throws IommufdError: EINVAL where they overlap, EADDRINUSE where one is
   * reserved (01 §11).
   */
  allow(ranges: readonly { readonly start: bigint; readonly last: bigint }[]): void {
    const array = new Uint8Array(ranges.length * iommu_iova_range.size)
    for (const [i, { start, last }] of ranges.entries())
      iommu_iova_range.encode(
        { start: iova(start), last: iova(last) },
        array.subarray(i * iommu_iova_range.size, (i + 1) * iommu_iova_range.size),
      )
    this.iommufd.call(
      IOMMU_IOAS_ALLOW_IOVAS,
      { ioas_id: this.id, num_iovas: ranges.length },
      { allowed_iovas: array },
    )
  }

  /** What is mapped, ascending. No call of Linux tells this: it looks into the simulation. */
  areas(): readonly AreaView[] {
    const areas: AreaView[] = []
    const object = this.iommufd.context.objects.peek(this.id)
    if (object instanceof EngineIoas) object.forEachArea((area) => areas.push({ ...area }))
    return areas
  }

  /** IOMMU_DESTROY, with all its mappings. Throws IommufdError EBUSY while anything uses it (01 §5.4). */
  destroy(): void {
    this.iommufd.destroy(this.id)
  }
}

const mapFlags = (
  at: bigint | undefined,
  { readable = true, writable = true }: Permissions,
): number =>
  (at === undefined ? 0 : IOMMUFD_IOAS_MAP_FLAGS.IOMMU_IOAS_MAP_FIXED_IOVA) |
  (readable ? IOMMUFD_IOAS_MAP_FLAGS.IOMMU_IOAS_MAP_READABLE : 0) |
  (writable ? IOMMUFD_IOAS_MAP_FLAGS.IOMMU_IOAS_MAP_WRITEABLE : 0)
