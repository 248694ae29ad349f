import { signal } from '@preact/signals'

const query = matchMedia('(max-width: 820px)')

/** The window is too narrow for calls beside the views: they become one of them. */
export const isNarrow = signal(query.matches)
query.addEventListener('change', ({ matches }) => {
  isNarrow.value = matches
})
