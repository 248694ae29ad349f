export const runCommand = async (..._args: unknown[]): Promise<number> => 0
