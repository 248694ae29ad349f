/** What was typed is no filter; `message` is a sentence for the person who typed it. */
export class FilterError extends Error {}
