/** Reading and writing structures, as every ioctl does. */
import { iommu_ioas_map, iommu_ioas_unmap } from '../src/abi/iommufd/ioas.ts'
import { decode, encode, type Fields, formatStruct, type Struct } from '../src/abi/layout.ts'
import { structs } from '../src/abi/tables.ts'
import { measure, type Operation } from './measure.ts'
import { type Report, time } from './report.ts'

const BATCH = 1000

/** So that the engine's code is as general here as in a program that uses all structures. */
const useAll = (): void => {
  for (const struct of structs.values())
    for (let i = 0; i < 500; i++) encode(struct, decode(struct, new Uint8Array(struct.size)))
}

const operationsOn = <F extends Fields>(struct: Struct<F>): Operation[] => {
  const bytes = new Uint8Array(struct.size).fill(7)
  const value = decode(struct, bytes)
  const repeat =
    (operation: () => void): (() => void) =>
    () => {
      for (let i = 0; i < BATCH; i++) operation()
    }
  return [
    { name: `read ${struct.name}`, batch: BATCH, run: repeat(() => decode(struct, bytes)) },
    { name: `write ${struct.name}`, batch: BATCH, run: repeat(() => encode(struct, value, bytes)) },
    { name: `print ${struct.name}`, batch: BATCH, run: repeat(() => formatStruct(struct, value)) },
  ]
}

export const benchAbi = async (): Promise<Report[]> => {
  useAll()
  const found = await measure([...operationsOn(iommu_ioas_map), ...operationsOn(iommu_ioas_unmap)])
  return [
    {
      title: 'Structures',
      figures: [...found].map(([name, nanoseconds]) => ({
        name,
        headline: time(nanoseconds),
        ...(name.startsWith('print') ? {} : { aim: '(aim: < 300 ns)' }),
        detail: '',
      })),
    },
  ]
}
