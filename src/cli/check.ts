export const checkCommand = async (..._args: unknown[]): Promise<number> => 0
