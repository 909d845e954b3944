/**
 * As in `src/merged.ts`, but for `runner.ts` in place of `mod.ts`: only `runner.ts`
 * may import this.
 */
export const merged: boolean = import.meta.main;
