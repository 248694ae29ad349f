/** How a device is described on a command line: `MODEL[:ARGUMENT][,KEY=VALUE...]`. */

export interface DeviceSpec {
  readonly model: string
  /** What the model is made from, an image file for one. */
  readonly argument?: string
  readonly options: ReadonlyMap<string, string>
}

/** A description that cannot be followed; the message is a sentence for whoever wrote it. */
export class DeviceSpecError extends Error {
  override readonly name = 'DeviceSpecError'
  constructor(spec: string, problem: string) {
    super(`The device "${spec}" cannot be added: ${problem}.`)
  }
}

/** Throws DeviceSpecError. */
export const parseDeviceSpec = (text: string): DeviceSpec => {
  const [head = '', ...pairs] = text.split(',')
  const colon = head.indexOf(':')
  const model = colon < 0 ? head : head.slice(0, colon)
  if (model === '') throw new DeviceSpecError(text, 'it names no model')
  const options = new Map<string, string>()
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    const key = pair.slice(0, equals)
    if (equals < 1) throw new DeviceSpecError(text, `"${pair}" is not KEY=VALUE`)
    if (options.has(key)) throw new DeviceSpecError(text, `${key} is given twice`)
    options.set(key, pair.slice(equals + 1))
  }
  return { model, ...(colon < 0 ? {} : { argument: head.slice(colon + 1) }), options }
}
