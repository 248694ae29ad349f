/**
 * Property tests draw the same values each time, so that a build says something of the change and not of
 * luck. PROPERTY_SEED=NUMBER draws others; a failure prints the seed that finds it again.
 */
import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env['PROPERTY_SEED'] ?? 20_261_124) })
