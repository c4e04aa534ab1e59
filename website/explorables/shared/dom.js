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

/**
 * Write a text into an element, in HTML or SVG; what follows a low line becomes a subscript.
 * @param {Element} place
 * @param {string} text such as "KL(π ‖ π_ref)"
 */
export function write(place, text) {
  const part = place instanceof SVGElement ? shifted : lowered;
  place.replaceChildren(...text.split(/_(\w+)/).map(part));
}

/** Every second part is a subscript. */
const lowered = (text, k) => (k % 2 ? element("sub", {}, text) : text);

function shifted(text, k) {
  const span = document.createElementNS("http://www.w3.org/2000/svg", "tspan");
  if (k) span.setAttribute("dy", k % 2 ? 3 : -3);
  if (k % 2) span.setAttribute("class", "subscript");
  span.textContent = text;
  return span;
}

/** Make an element that holds a text. */
export function written(tag, attributes, text) {
  const made = element(tag, attributes);
  write(made, text);
  return made;
}

/** A label may depend on the settings. */
export const worded = (label, settings) => (typeof label === "string" ? label : label(settings));

/** Return a function that calls `act` once it has not been called again for a while. */
export function settled(act, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds);
  };
}

/** Write a number to three digits: enough to say how far off a chart it is. */
export function rough(value) {
  if (value >= 1e6) return fixed(value, 0);
  return value.toLocaleString("en", { maximumSignificantDigits: 3 }).replace("-", "−");
}

/** Write a number with a true minus sign, and none before a zero; a huge one with its power. */
export function fixed(value, digits) {
  if (value === Infinity) return "∞";
  if (value >= 1e6) return value.toExponential(1);
  const text = value.toFixed(digits);
  return text.replace("-", Number(text) === 0 ? "" : "−");
}
