/** The gap e^t − 1 − t, which is k3 at log-ratio t: zero at zero, positive elsewhere. */
export function gap(t) {
  return Math.expm1(t) - t;
}

/** KL(p ‖ q) of two normal densities, in nats. */
export function klNormal(meanP, stdP, meanQ, stdQ) {
  return gap(2 * Math.log(stdP / stdQ)) / 2 + ((meanP - meanQ) / stdQ) ** 2 / 2;
}

export function logNormal(x, mean, std) {
  return -(((x - mean) / std) ** 2) / 2 - Math.log(std) - Math.log(2 * Math.PI) / 2;
}

export function sum(values) {
  return values.reduce((total, each) => total + each, 0);
}

/** `count` equally spaced numbers from `low` to `high`, both included. */
export function spaced(low, high, count) {
  return Array.from({ length: count }, (_, k) => low + ((high - low) * k) / (count - 1));
}

/** Scramble a whole number into 32 bits: the finaliser of MurmurHash3 (Appleby, 2011). */
function scrambled(bits) {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** The number of this index, strictly between 0 and 1, of the random sequence of a seed. */
export function uniform(seed, index) {
  return (scrambled(scrambled(seed + 1) + index) + 0.5) / 2 ** 32;
}

/** Standard normals, by Box and Muller; a longer sample of a seed begins with the shorter one. */
export function normals(seed, count) {
  const radius = (k) => Math.sqrt(-2 * Math.log(uniform(seed, 2 * k)));
  const angle = (k) => 2 * Math.PI * uniform(seed, 2 * k + 1);
  return Array.from({ length: count }, (_, k) => radius(k) * Math.cos(angle(k)));
}
