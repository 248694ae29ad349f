/** The kinds of random sequence. */
import {
  containerProfile,
  coreProfile,
  hardwareProfile,
  mockProfile,
  type Profile,
} from './sequence.ts'

export const profiles: readonly Profile[] = [
  coreProfile,
  containerProfile,
  hardwareProfile,
  mockProfile,
]
