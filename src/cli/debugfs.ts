/** What is shown of a simulated Intel IOMMU under /sys/kernel/debug: page tables as they are (06 §10.7). */
import type { Machine } from '../engine/machine.ts'
import type { SyntheticFile } from '../host/hosted-system.ts'
import { domainTranslation } from '../iommu/intel/vtd-debugfs.ts'
import { VtdIommu } from '../iommu/intel/vtd-iommu.ts'
import type { PciMachine } from '../vfio/pci/pci-machine.ts'

const DIRECTORY = '/sys/kernel/debug/iommu/intel'

/** Nothing on a platform of another maker. */
export const debugfsOf = (machine: Machine, pci: PciMachine): SyntheticFile[] =>
  pci.functions.flatMap(({ device, bdf }) => {
    if (!(device.instance.driver instanceof VtdIommu)) return []
    const state = machine.groups.of(device)
    const at = `${DIRECTORY}/${bdf}`
    return [
      file(at, () => domainTranslation(state.translation(undefined), bdf)),
      ...[...state.pasids.keys()].map((pasid) =>
        file(`${at}/${pasid}`, () => domainTranslation(state.translation(pasid), bdf, pasid)),
      ),
    ]
  })

/** Which files there are depends on this. */
export const debugfsVersion = (machine: Machine, pci: PciMachine): string =>
  pci.functions.map(({ device }) => [...machine.groups.of(device).pasids.keys()].join()).join(';')

const file = (directory: string, content: () => string): SyntheticFile => ({
  path: `${directory}/domain_translation_struct`,
  node: { kind: 'text', permissions: 0o444, content },
})
