/** What `src/merged.ts` is for `mod.ts`, for `runner.ts`, and for it alone. */
export const merged: boolean = import.meta.main;
