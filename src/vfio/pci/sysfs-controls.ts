/** The files in /sys that do something when they are written (06 §10.2, §10.3). */
import { Later } from '../../engine/later.ts'
import { Refusal, type Result, reasonKind, refuse } from '../../engine/reason.ts'
import type { PciDriver } from './pci-driver.ts'
import type { PciFunction } from './pci-function.ts'
import type { SysfsEntry } from './sysfs-entry.ts'

export const ResetTakesOne = reasonKind<{ written: string }>({
  code: 'reset-takes-one',
  errno: 'EINVAL',
  cite: '06 §10.3',
  say: ({ written }) => `${JSON.stringify(written)} was written to reset, which takes 1`,
  advice: 'Write 1 to have it reset.',
})

export const EnabledByDriver = reasonKind<{ bdf: string }>({
  code: 'enabled-by-driver',
  errno: 'EBUSY',
  cite: '06 §10.3',
  say: ({ bdf }) => `${bdf} has a driver, which enables and disables it`,
  advice: 'Unbind it first.',
})

type Action = (written: string) => Result<void> | Later<void>

/** Nothing written does nothing. */
const control = (
  path: string,
  permissions: number,
  act: Action,
  content: () => string = () => '',
): SysfsEntry => ({
  path,
  node: {
    kind: 'text',
    permissions,
    content,
    write: (bytes) => {
      if (bytes.length === 0) return 0
      const done = act(Buffer.from(bytes).toString('latin1'))
      if (done instanceof Refusal) return done
      if (!(done instanceof Later)) return bytes.length
      const answer = new Later<Result<number>>()
      done.when(() => answer.resolve(bytes.length))
      return answer
    },
  },
})

const accept: Action = () => undefined

/** `/sys/bus/pci/drivers/vfio-pci` and what is beside it. */
export const driverControls = (driver: PciDriver): SysfsEntry[] => {
  const own = '/sys/bus/pci/drivers/vfio-pci'
  return [
    control(`${own}/bind`, 0o200, (written) => driver.bind(written)),
    control(`${own}/unbind`, 0o200, (written) => driver.unbind(written)),
    control(`${own}/new_id`, 0o200, (written) => driver.newId(written)),
    control(`${own}/remove_id`, 0o200, (written) => driver.removeId(written)),
    control(`${own}/uevent`, 0o200, accept),
    control('/sys/bus/pci/drivers_probe', 0o200, (written) => driver.probe(written)),
    control('/sys/bus/pci/drivers_autoprobe', 0o644, accept, () => '1\n'),
    control('/sys/bus/pci/rescan', 0o200, accept),
  ]
}

/** Those in the directory of a function, which describes itself in `uevent`. */
export const functionControls = (
  driver: PciDriver,
  fn: PciFunction,
  path: string,
  uevent: string,
): SysfsEntry[] => [
  control(`${path}/uevent`, 0o644, accept, () => `${uevent}\n`),
  control(
    `${path}/driver_override`,
    0o644,
    (written) => driver.override(fn, written),
    () => `${fn.driverOverride ?? '(null)'}\n`,
  ),
  control(
    `${path}/enable`,
    0o644,
    () => (fn.vfio === undefined ? undefined : refuse(EnabledByDriver, { bdf: fn.bdf })),
    () => (fn.vfio?.isOpen === true ? '1\n' : '0\n'),
  ),
  control(`${path}/rescan`, 0o200, accept),
  // What is written there makes no difference to a simulated function.
  ...Object.entries({
    broken_parity_status: '0',
    d3cold_allowed: '1',
    msi_bus: '1',
    numa_node: '-1',
    'power/control': 'on',
  }).map(([name, value]) => control(`${path}/${name}`, 0o644, accept, () => `${value}\n`)),
  ...(fn.pci.model.resettable
    ? [control(`${path}/reset`, 0o200, (written) => reset(fn, written))]
    : []),
]

const reset = (fn: PciFunction, written: string): Result<void> => {
  if (!/^0*(x0*)?1\n?$/.test(written)) return refuse(ResetTakesOne, { written })
  fn.pci.resetFunction()
}
