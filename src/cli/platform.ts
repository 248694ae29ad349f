/** The default platform: an ordinary Intel server, whose 48 bits and one MSI window most programs know. */
export const DEFAULT_PLATFORM = 'intel-server-48'
