/**
 * Whether a bundler has put this module and `mod.ts` into one file that is the
 * main module, and has left `import.meta.main` as it was, as esbuild does: by
 * itself this module is never the main one. Nothing but `mod.ts` may import it,
 * or a bundler could part the two.
 */
export const merged: boolean = import.meta.main;
