import { defineConfig } from 'vitest/config'
import { sayReachedReasons } from './test/setup/reached-reasons.ts'

export default defineConfig({
  plugins: [sayReachedReasons],
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    globalSetup: ['test/setup/build.ts', 'test/setup/reached-reasons.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
