/** The kinds of random sequence. */
import {
  containerProfile,
  coreProfile,
  hardwareProfile,
  mockProfile,
  type Profile,
  vfioProfile,
} from './sequence.ts'

export const profiles: readonly Profile[] = [
  coreProfile,
  containerProfile,
  hardwareProfile,
  mockProfile,
  vfioProfile,
]
