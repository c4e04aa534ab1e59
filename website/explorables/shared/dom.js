/**
 * Make an element.
 * @param {string} tag
 * @param {Object<string, unknown>} [attributes]
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Return a function that calls `act` once it has not been called again for a while. */
export function settled(act, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

/** Write a number with a true minus sign, and none before a zero; a huge one with its power. */
export function fixed(value, digits) {
  if (value === Infinity) return "∞";
  if (value >= 1e6) return value.toExponential(1);
  const text = value.toFixed(digits);
  return text.replace("-", Number(text) === 0 ? "" : "−");
}
