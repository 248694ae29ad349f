/** The command line asks for something that cannot be; the message is a sentence for whoever typed it. */
export class UsageError extends Error {}
