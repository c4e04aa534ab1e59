/**
 * The controls of explorables.  Each stands for one setting.  It has a `name`, a `label`, a first
 * `value`; `tidy(raw, otherwise)`, which turns anything, such as text from the address, into a
 * legal value; and `build(set)`, which returns its element and how to `show` a value on it (and
 * all settings, if it must know them).
 */

import { element, fixed, worded, write, written } from "./dom.js";

/**
 * A slider.
 * @param {string} name
 * @param {object} options
 * @param {number} options.step also says how many digits are shown, unless there is a `format`
 * @param {(value: number) => string} [options.format]
 * @param {number} [options.play] seconds in which a button runs it from end to end
 */
export function range(name, { label, min, max, step, value, format, play }) {
  const digits = (String(step).split(".")[1] ?? "").length;
  const write = format ?? ((number) => fixed(number, digits));

  function tidy(raw, otherwise) {
    const number = raw === "" ? NaN : Number(raw);
    if (!Number.isFinite(number)) return otherwise;
    const clamped = Math.min(max, Math.max(min, number));
    return Number((min + Math.round((clamped - min) / step) * step).toFixed(digits));
  }

  function build(set) {
    const id = `setting-${name}`;
    const input = element("input", { type: "range", id, min, max, step });
    const shown = element("span", { class: "explorable-value" });
    const player = play && new Player({ name, min, max, seconds: play }, set);
    let before; // a finger that goes on to scroll the page has not meant the slider
    input.addEventListener("pointerdown", () => (before = input.value));
    input.addEventListener("pointercancel", () => set({ [name]: before }));
    input.addEventListener("input", () => set({ [name]: input.value }));
    const show = (number) => {
      input.value = number;
      input.setAttribute("aria-valuetext", write(number));
      shown.textContent = write(number);
      player?.show(number);
    };
    const parts = [element("label", { for: id }, label), input, shown];
    if (player) parts.push(player.button);
    return { node: element("div", { class: "explorable-range" }, ...parts), show };
  }

  return { name, label, value, min, max, step, format: write, tidy, build };
}

/** The button that runs a slider from end to end; by tenths, for readers who want no motion. */
class Player {
  constructor({ name, min, max, seconds }, set) {
    Object.assign(this, { name, min, max, seconds, set, at: min, frame: 0 });
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.word = this.still ? "Step" : "Play";
    this.button = element("button", { type: "button" }, this.word);
    this.button.addEventListener("click", () => (this.frame ? this.stop() : this.start()));
  }

  /** Note where the slider is, and let go of it if somebody else has moved it. */
  show(at) {
    if (at !== this.at && !this.moving) this.stop();
    this.at = at;
  }

  start() {
    const from = this.at < this.max ? this.at : this.min;
    if (this.still) {
      this.set({ [this.name]: from + (this.max - this.min) / 10 });
      return;
    }
    const begun = performance.now();
    const speed = (this.max - this.min) / (1000 * this.seconds);
    const tick = (now) => {
      const next = from + Math.max(0, now - begun) * speed;
      this.moving = true;
      this.set({ [this.name]: next });
      this.moving = false;
      if (next < this.max) this.frame = requestAnimationFrame(tick);
      else this.stop();
    };
    this.button.textContent = "Pause";
    this.frame = requestAnimationFrame(tick);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.button.textContent = this.word;
  }
}

/**
 * One of a few, as radio buttons.
 * @param {Object<string, string>} options.options label of each value
 */
export function choice(name, { label, options, value }) {
  const tidy = (raw, otherwise) => (Object.hasOwn(options, raw) ? raw : otherwise);

  function build(set) {
    const inputs = Object.keys(options).map((each) =>
      element("input", { type: "radio", name: `setting-${name}`, value: each }),
    );
    for (const input of inputs) {
      input.addEventListener("change", () => set({ [name]: input.value }));
    }
    const text = (input) => written("span", {}, options[input.value]);
    const labels = inputs.map((input) => element("label", {}, input, text(input)));
    const show = (chosen) => inputs.forEach((input) => (input.checked = input.value === chosen));
    const node = element("fieldset", {}, element("legend", {}, label), ...labels);
    return { node, show };
  }

  return { name, label, value, tidy, build };
}

/** Yes or no, as a check box; its label may be a function of the settings. */
export function toggle(name, { label }) {
  const tidy = (raw, otherwise) => ({ true: true, false: false })[raw] ?? otherwise;

  function build(set) {
    const input = element("input", { type: "checkbox" });
    input.addEventListener("change", () => set({ [name]: input.checked }));
    const text = element("span");
    const show = (checked, settings) => {
      input.checked = checked;
      write(text, worded(label, settings));
    };
    return { node: element("label", { class: "explorable-toggle" }, input, text), show };
  }

  return { name, label, value: false, tidy, build };
}

/**
 * A button that adds one to a whole number: the seed of a new sample.
 * @param {object} [options.also] other settings that it makes
 */
export function counter(name, { label, also }) {
  const tidy = (raw, otherwise) => (/^\d{1,9}$/.test(raw) ? Number(raw) : otherwise);

  function build(set) {
    let count = 0;
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => set({ ...also, [name]: count + 1 }));
    return { node: button, show: (shown) => (count = shown) };
  }

  return { name, label, value: 0, tidy, build };
}
