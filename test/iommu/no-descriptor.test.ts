/** 05 §A.7 op 5: an access that the caller has no descriptor for. */
import { expect, test } from 'vitest'
import { objectId } from '../../src/abi/brands.ts'
import { IOMMU_IOAS_ALLOC } from '../../src/abi/iommufd/ioas.ts'
import { TEST_CREATE_ACCESS } from '../../src/abi/test-cmd.ts'
import { Machine } from '../../src/engine/machine.ts'
import { TestBench } from '../../src/iommu/test/test-bench.ts'
import { testCommand } from '../../src/iommu/test/test-command.ts'
import { Program } from '../engine/support/program.ts'
import { reasonsOf } from '../reached.ts'

test('it is refused, and made again as if nothing had been', () => {
  const command = testCommand(new TestBench())
  const program = new Program(new Machine({ testInterface: true, commands: [command] }))
  const context = program.open()
  const id = program.must(context, IOMMU_IOAS_ALLOC).out_ioas_id
  program.maxFiles = 4
  const { op, struct } = TEST_CREATE_ACCESS
  const create = () =>
    context.ioctl(
      program.call(),
      command.ioctl.request,
      program.place(struct.encode({ size: struct.size, op, id })).address,
    )
  expect(reasonsOf(create)).toContain('test-no-descriptor')
  program.maxFiles = 5
  expect(reasonsOf(create)).toEqual([])
  expect(objectId(id)).toBe(id)
})
