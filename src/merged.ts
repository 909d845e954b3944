/**
 * True if a bundler merged this module and `mod.ts` into the main module, and
 * left `import.meta.main` in place, as esbuild does. By itself, this module is
 * never the main one. Only `mod.ts` may import it, or a bundler could separate
 * the two.
 */
export const merged: boolean = import.meta.main;
