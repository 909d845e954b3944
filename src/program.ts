/** Whether this process is the program mountat, not one that uses the library. */
export const program = { isMain: false };
