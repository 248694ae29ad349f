/**
 * Distinct types for things that would otherwise all be numbers: mixing up an IOVA with a user
 * address, or an object ID with a file descriptor, is then a type error.
 *
 * 64-bit quantities are `bigint` (exact from 0 to 2^64-1), 32-bit ones `number`.
 */

declare const brand: unique symbol

type Branded<Base, Name extends string> = Base & { readonly [brand]: Name }

/** ID of an object of one iommufd context: 1 to 0x7fffffff; 0 never names an object. */
export type ObjectId = Branded<number, 'ObjectId'>
/** A file descriptor of the calling process, -2^31 to 2^31-1. */
export type Fd = Branded<number, 'Fd'>
/** PASID, 0 to 2^32-1 as passed by the caller. */
export type Pasid = Branded<number, 'Pasid'>
/** I/O virtual address, in bytes, 0 to 2^64-1. */
export type Iova = Branded<bigint, 'Iova'>
/** Address in a process, in bytes, 0 to 2^64-1. */
export type UserVa = Branded<bigint, 'UserVa'>
/** (Simulated) physical address, in bytes. */
export type PhysAddr = Branded<bigint, 'PhysAddr'>
/** Offset into a file or a page source, in bytes. */
export type FileOffset = Branded<bigint, 'FileOffset'>
/** A length in bytes, 0 to 2^64-1. */
export type ByteLength = Branded<bigint, 'ByteLength'>

const U64_MASK = 0xffff_ffff_ffff_ffffn

/** 2^64-1, the last address of every 64-bit space. */
export const MAX_U64 = U64_MASK

const u64 = (value: bigint): bigint => {
  if (value < 0n || value > U64_MASK)
    throw new RangeError(`${value} is not a 64-bit unsigned value`)
  return value
}

/** Each constructor checks the range and throws RangeError outside it; use them at edges only. */
export const iova = (value: bigint): Iova => u64(value) as Iova
export const userVa = (value: bigint): UserVa => u64(value) as UserVa
export const physAddr = (value: bigint): PhysAddr => u64(value) as PhysAddr
export const fileOffset = (value: bigint): FileOffset => u64(value) as FileOffset
export const byteLength = (value: bigint): ByteLength => u64(value) as ByteLength

const u32 = (value: number): number => {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw new RangeError(`${value} is not a 32-bit unsigned value`)
  return value
}
export const objectId = (value: number): ObjectId => u32(value) as ObjectId
export const pasid = (value: number): Pasid => u32(value) as Pasid
export const fd = (value: number): Fd => (value | 0) as Fd

/** An address or length as people read it: `0xfee00000`; with leading zeros where `digits` asks for them. */
export const hex = (value: bigint | number, digits = 1): string =>
  `0x${value.toString(16).padStart(digits, '0')}`
