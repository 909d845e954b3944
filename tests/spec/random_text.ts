/** Some of `pieces` in a row, at most `most`; the same for the same seed. */
export function randomText(
  seed: number,
  pieces: readonly string[],
  most: number,
): string {
  // Marsaglia's xorshift, well enough mixed after the first rounds.
  let state = seed * 0x9e37_79b9 >>> 0;
  const below = (limit: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
  below(1);
  const length = below(most + 1);
  return Array.from({ length }, () => pieces[below(pieces.length)]).join("");
}
