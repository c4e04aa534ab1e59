/**
 * The frame of an explorable.
 *
 * To write one, put NAME.js beside densities.js, which is the example to follow; all it needs comes
 * from "./shared.js", and what only it needs stays in it:
 *
 *     explorable("NAME", {
 *       title, intro, caption,          // words; the caption states the conclusion
 *       controls: [range(…), choice(…), toggle(…), counter(…)],  // see controls.js
 *       compute(settings) {…},          // pure; returns numbers by name, arrays among them
 *       readouts: [{ name, label, unit, digits }],  // which of them are written out
 *                                     // (a label may be a function of the settings)
 *       legend: [["p", "first"], …],    // what is written beside a stroke of each series
 *       say(settings, numbers) {…},     // a sentence with the result, for those who hear it
 *       note(settings, numbers) {…},    // if there is more to say of it, a sentence for all
 *       height(width) {…},              // of the drawing, in pixels
 *       draw(figure, settings, numbers) {…},  // see figure.js; `figure.set` changes settings
 *     });
 *
 * Then put `<div class="explorable" id="NAME"></div>` on a page, say in explorables.css how high it
 * is, and in tests/site/explorables/NAME.py what its numbers must be and what its caption may
 * conclude from them; the rest is tested for all explorables alike.
 *
 * Whatever changes the result is a setting: the step that training has reached is a range with
 * `play`, the seed of a sample is a counter.  Settings are part of the address, so their names
 * differ from those of other explorables on the page.
 *
 * `element.explorable` has the `settings`, the `numbers` and `set(settings)`.
 */

import { element, fixed, settled, worded, write, written } from "./dom.js";
import { Figure } from "./figure.js";

export function explorable(name, declaration) {
  const place = document.getElementById(name);
  place.explorable = new Explorable(place, name, declaration);
}

class Explorable {
  constructor(place, name, declaration) {
    Object.assign(this, { name, declaration });
    const { controls } = declaration;
    this.defaults = Object.fromEntries(controls.map((control) => [control.name, control.value]));
    this.settings = this.#tidied(new URLSearchParams(location.search), this.defaults);
    this.#build(place);
    this.tell = settled(() => this.#tell(), 600);
    this.keep = settled(() => this.#keep(), 300);
    this.#update();
    new ResizeObserver(() => this.#draw()).observe(this.figure.place);
  }

  /** Change some settings; what is no legal value leaves the setting as it was. */
  set = (changes) => {
    this.settings = this.#tidied(new Map(Object.entries(changes)), this.settings);
    this.#update();
    this.tell();
    this.keep();
  };

  #tidied(given, otherwise) {
    const tidied = ({ name, tidy }) =>
      given.has(name) ? tidy(given.get(name), otherwise[name]) : otherwise[name];
    return Object.fromEntries(this.declaration.controls.map((each) => [each.name, tidied(each)]));
  }

  #build(place) {
    const { title, intro, caption, controls, readouts, legend } = this.declaration;
    const id = `${this.name}-title`;
    const canvas = element("div", { class: "explorable-figure" });
    this.parts = controls.map((control) => control.build(this.set));
    const nodes = this.parts.map(({ node }) => node);
    const isButton = (node) => node.matches("button");
    this.labels = readouts.map(() => element("dt"));
    this.values = readouts.map(() => element("data"));
    this.note = element("p", { class: "explorable-note" });
    this.status = element("p", { class: "visually-hidden", role: "status" });
    place.append(
      element(
        "section",
        { "aria-labelledby": id },
        element("p", { id, class: "explorable-title" }, title),
        written("p", {}, intro),
        element("ul", { class: "explorable-legend" }, ...legend.map(entry)),
        canvas,
        element("div", { class: "explorable-controls" }, ...nodes.filter((each) => !isButton(each))),
        this.#buttons(nodes.filter(isButton)),
        element("dl", {}, ...readouts.map((each, k) => readout(each, this.labels[k], this.values[k]))),
        this.note,
        written("p", { class: "explorable-caption" }, caption),
        this.status,
      ),
    );
    const byName = Object.fromEntries(controls.map((control) => [control.name, control]));
    this.figure = new Figure(canvas, this.name, byName, this.set);
  }

  #buttons(own) {
    const reset = element("button", { type: "button" }, "Reset");
    reset.addEventListener("click", () => this.set(this.defaults));
    this.copy = element("button", { type: "button" });
    this.copy.addEventListener("click", () => this.#copy());
    this.copy.hidden = !navigator.clipboard; // the address bar has the link, too
    return element("div", { class: "explorable-buttons" }, ...own, reset, this.copy);
  }

  #update() {
    const { controls, compute, readouts, note } = this.declaration;
    this.numbers = compute(this.settings);
    this.note.textContent = note?.(this.settings, this.numbers) ?? "";
    this.parts.forEach(({ show }, k) => show(this.settings[controls[k].name], this.settings));
    this.copy.textContent = "Copy link";
    readouts.forEach(({ name, label, digits = 4 }, k) => {
      // A formula stays in one line.
      write(this.labels[k], worded(label, this.settings).replaceAll(" ‖ ", "\u00a0‖\u00a0"));
      this.values[k].value = this.numbers[name];
      this.values[k].textContent = fixed(this.numbers[name], digits);
    });
    this.#draw();
  }

  #draw() {
    const { height, draw } = this.declaration;
    this.figure.draw(height, () => draw(this.figure, this.settings, this.numbers));
    this.figure.svg.attr("aria-label", this.#sentence());
  }

  #sentence() {
    return `${this.declaration.say(this.settings, this.numbers)} ${this.note.textContent}`.trim();
  }

  #tell() {
    this.status.textContent = this.#sentence();
  }

  #address() {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(this.settings)) {
      if (value === this.defaults[name]) url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    url.hash = this.name;
    return url.href;
  }

  #keep() {
    history.replaceState(history.state, "", this.#address());
  }

  async #copy() {
    await navigator.clipboard.writeText(this.#address());
    this.copy.textContent = "Copied";
    this.status.textContent = "The link is copied.";
  }
}

function entry([label, series]) {
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
  swatch.setAttribute("aria-hidden", "true");
  stroke.setAttribute("class", `line series-${series}`);
  stroke.setAttribute("d", "M0 5H28");
  swatch.append(stroke);
  return element("li", {}, swatch, label);
}

function readout({ unit }, label, value) {
  return element("div", {}, label, element("dd", {}, value, unit ? ` ${unit}` : ""));
}
