/**
 * As in `src/merged.ts`, but for `cli.ts` in place of `mod.ts`: only `cli.ts` may
 * import this.
 */
export const merged: boolean = import.meta.main;
