/** The JSON schema of machine files, from the declarations that they are read by. */
import { pciOptions } from './device-model.ts'
import { deviceModels } from './device-models.ts'
import type { ModelArgument } from './device-spec.ts'
import { machineOptions } from './machine-options.ts'
import type { OptionDeclarations } from './option-kind.ts'

type Schema = Readonly<Record<string, unknown>>

const properties = (options: OptionDeclarations): Record<string, Schema> =>
  Object.fromEntries(
    Object.entries(options).map(([key, { schema, meaning }]) => [
      key,
      { description: meaning, ...schema },
    ]),
  )

const argumentOf = (argument: ModelArgument | undefined): Record<string, Schema> =>
  argument === undefined ? {} : { argument: { description: argument.meaning, type: 'string' } }

const ofModel = (
  model: Schema,
  description: string,
  argument: ModelArgument | undefined,
  options: OptionDeclarations,
): Schema => ({
  description,
  type: 'object',
  properties: { model, ...argumentOf(argument), ...properties(options) },
  required: ['model', ...(argument?.required === true ? ['argument'] : [])],
})

/** A module may take options of its own, which only it knows. */
const ofModule: Schema = {
  ...ofModel(
    { type: 'string', pattern: '/|\\.[cm]?[jt]s$' },
    'a device of your own: the path of a module, relative to this file',
    { form: '', meaning: 'what the module makes of it', required: false },
    pciOptions,
  ),
  additionalProperties: { type: ['string', 'number', 'boolean'] },
}

export const machineSchema = (): Schema => ({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'A machine for iommufd-user run --machine',
  type: 'object',
  properties: {
    $schema: { type: 'string' },
    ...properties(machineOptions),
    devices: {
      description: 'simulated devices, in order',
      type: 'array',
      items: {
        oneOf: [
          ...deviceModels.map(({ name, summary, argument, options }) => ({
            ...ofModel({ const: name }, summary, argument, options),
            additionalProperties: false,
          })),
          ofModule,
        ],
      },
    },
  },
  additionalProperties: false,
})

/** As docs/machine.schema.json holds it. */
export const machineSchemaText = (): string => `${JSON.stringify(machineSchema(), null, 2)}\n`
