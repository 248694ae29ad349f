export const demoCommand = async (..._args: unknown[]): Promise<number> => 0
