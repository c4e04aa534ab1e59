/**
 * A drawing that is said anew after each change.  `draw` names what there is (panels, lines,
 * handles), each under a key; what is named again is moved, what is not named any more goes.
 * So a handle keeps the focus and the pointer while it is dragged.
 */

import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { pointer, select } from "d3-selection";
import { area, line } from "d3-shape";

import { write } from "./dom.js";

const MARGIN = { left: 44, right: 12, top: 24, bottom: 22 };
const LABEL = 18; // height of the name of the x-axis

export class Figure {
  /**
   * @param {HTMLElement} place
   * @param {string} id
   * @param {Object<string, object>} controls by name
   * @param {(settings: object) => void} set
   */
  constructor(place, id, controls, set) {
    Object.assign(this, { place, id, controls, set, marks: new Map(), handles: new Map() });
    this.svg = select(place).append("svg").attr("role", "group");
    this.ground = this.svg.append("g").attr("aria-hidden", "true");
    this.top = this.svg.append("g"); // handles lie above all else
  }

  /** Draw: `height` may depend on `width`. */
  draw(height, paint) {
    this.width = this.place.clientWidth;
    this.height = height(this.width);
    this.svg.attr("width", this.width).attr("height", this.height);
    this.used = new Set();
    paint(this);
    for (const [key, mark] of this.marks) {
      if (!this.used.has(key)) {
        mark.remove();
        this.marks.delete(key);
      }
    }
  }

  /** Return the element of this key as a d3 selection; it is made when it is new. */
  put(key, tag, parent = this.ground, made = () => {}) {
    this.used.add(key);
    if (!this.marks.has(key)) {
      this.marks.set(key, parent.append(tag));
      made(this.marks.get(key));
    }
    return this.marks.get(key);
  }

  /**
   * A pair of axes.
   * @param {string} key
   * @param {object} options
   * @param {[number, number]} options.x domain
   * @param {[number, number]} options.y domain
   * @param {string} [options.xLabel] without it, the x-axis has no name and takes less room
   * @param {string} [options.yLabel] written above the axis, where it fits on a phone
   * @param {number[]} [options.xTicks] where the x-axis has ticks; at round numbers, unless said
   * @param {string[]} [options.rows] what is written beside y = 0, 1, … instead of numbers
   * @param {number} [options.left] where it lies in the figure; the whole, unless said
   */
  panel(key, options) {
    return new Panel(this, key, options);
  }

  /**
   * A point to be dragged, which is also a slider for the keyboard.
   * @param {string} name the setting that it changes, which must be a range
   * @param {object} options
   * @param {Panel} options.panel
   * @param {number} options.x where it is, in the units of the axes
   * @param {number} options.y
   * @param {(x: number) => number} options.value the setting for a place on the x-axis
   * @param {string} options.series
   * @param {[string, (y: number) => number]} [options.upward] a second setting, changed by going
   *   up and down, and what it is at a height
   */
  handle(name, options) {
    this.handles.set(name, options);
    const { panel, x, y, series } = options;
    const settings = this.#settings(name, x, y);
    const controls = Object.keys(settings).map((each) => this.controls[each]);
    const written = controls.map(({ name, tidy, format }) => format(tidy(settings[name])));
    this.put(`handle ${name}`, "g", this.top, (mark) => this.#liven(mark, name))
      .attr("class", `handle series-${series}`)
      .attr("transform", `translate(${panel.x(x)},${panel.y(y)})`)
      .attr("data-setting", Object.keys(settings).join(" "))
      .attr("aria-label", controls.map(({ label }) => label).join(", "))
      .attr("aria-valuenow", controls[0].tidy(settings[name]))
      .attr("aria-valuetext", written.join(", "));
  }

  /** The settings, one or two, that a handle stands for at a point. */
  #settings(name, x, y) {
    const { value, upward: [second, height] = [] } = this.handles.get(name);
    return { [name]: value(x), ...(second && { [second]: height(y) }) };
  }

  #liven(mark, name) {
    const control = this.controls[name];
    mark
      .attr("role", "slider")
      .attr("tabindex", 0)
      .attr("aria-valuemin", control.min)
      .attr("aria-valuemax", control.max);
    mark.append("circle").attr("class", "target").attr("r", 14);
    mark.append("circle").attr("class", "dot").attr("r", 6);
    mark.on("keydown", (event) => this.#key(event, name));
    this.#drag(mark, name);
  }

  #key(event, name) {
    const { x, y, upward: [second] = [] } = this.handles.get(name);
    const changed = second && /^Arrow(Up|Down)$/.test(event.key) ? second : name;
    const { min, max, step } = this.controls[changed];
    const now = this.#settings(name, x, y)[changed];
    const large = 10 * step;
    const small = event.shiftKey ? large : step;
    const next = {
      ArrowRight: now + small,
      ArrowUp: now + small,
      ArrowLeft: now - small,
      ArrowDown: now - small,
      PageUp: now + large,
      PageDown: now - large,
      Home: min,
      End: max,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.set({ [changed]: next });
  }

  #drag(mark, name) {
    let grip; // from the pointer to the middle of the handle, so that it does not jump
    mark.on("pointerdown", (event) => {
      const { panel, x, y } = this.handles.get(name);
      const [across, down] = pointer(event, this.svg.node());
      grip = [panel.x(x) - across, panel.y(y) - down];
      mark.node().setPointerCapture(event.pointerId);
    });
    mark.on("pointermove", (event) => {
      if (!mark.node().hasPointerCapture(event.pointerId)) return;
      const { panel } = this.handles.get(name);
      const [across, down] = pointer(event, this.svg.node());
      const at = [panel.x.invert(across + grip[0]), panel.y.invert(down + grip[1])];
      this.set(this.#settings(name, ...at));
    });
  }
}

class Panel {
  constructor(figure, key, options) {
    const { left = 0, top = 0, width = figure.width, height = figure.height } = options;
    const { xLabel, yLabel } = options;
    const right = left + width - MARGIN.right;
    const bottom = top + height - MARGIN.bottom - (xLabel ? LABEL : 0);
    Object.assign(this, { figure, key });
    this.box = { left: left + MARGIN.left, right, top: top + MARGIN.top, bottom };
    this.x = scaleLinear(options.x, [this.box.left, right]);
    this.y = scaleLinear(options.y, [bottom, this.box.top]);
    this.#clip();
    this.#axes(options);
    if (xLabel) this.#name("x", (this.box.left + right) / 2, bottom + 36, xLabel, "middle");
    if (yLabel) this.#name("y", left + 4, top + 12, yLabel, "start");
  }

  #put(key, tag) {
    return this.figure.put(`${this.key} ${key}`, tag);
  }

  #clip() {
    const { left, right, top, bottom } = this.box;
    this.clipping = `${this.figure.id}-${this.key}-clip`;
    this.#put("clip", "clipPath").attr("id", this.clipping);
    this.figure
      .put(`${this.key} clip box`, "rect", this.figure.marks.get(`${this.key} clip`))
      .attr("x", left)
      .attr("y", top - 4)
      .attr("width", Math.max(0, right - left))
      .attr("height", Math.max(0, bottom - top + 8));
  }

  #axes({ rows, xTicks }) {
    const { left, right, top, bottom } = this.box;
    const ticks = (scale, length, each) => scale.ticks(Math.max(2, Math.round(length / each)));
    const values = rows ? [...rows.keys()] : ticks(this.y, bottom - top, 45);
    const format = rows && ((k) => rows[k]);
    const across = xTicks ?? ticks(this.x, right - left, 70);
    this.#put("x axis", "g")
      .attr("class", "axis")
      .attr("transform", `translate(0,${bottom})`)
      .call(axisBottom(this.x).tickValues(across).tickFormat(xTicks && String).tickSizeOuter(0));
    this.#put("y axis", "g")
      .attr("class", "axis")
      .attr("transform", `translate(${left},0)`)
      .call(axisLeft(this.y).tickValues(values).tickFormat(format).tickSizeOuter(0));
  }

  #name(axis, x, y, text, anchor) {
    this.#put(`${axis} label`, "text")
      .attr("x", x)
      .attr("y", y)
      .attr("text-anchor", anchor)
      .call((made) => write(made.node(), text));
  }

  /** Anything else, as a d3 selection, cut off at the edge of the panel. */
  put(key, tag) {
    return this.#put(key, tag).attr("clip-path", `url(#${this.clipping})`);
  }

  /** A line through points [x, y]. */
  line(key, points, series) {
    const path = line((d) => this.x(d[0]), (d) => this.y(d[1]));
    this.put(key, "path").attr("class", `line series-${series}`).attr("d", path(points));
  }

  /** What lies between the line through points [x, y] and zero. */
  area(key, points, series) {
    const path = area((d) => this.x(d[0]), this.y(0), (d) => this.y(d[1]));
    this.put(key, "path").attr("class", `area series-${series}`).attr("d", path(points));
  }

  /** The bars [from, to, height] of a histogram. */
  bars(key, bars, series) {
    const bar = ([from, to, height]) =>
      `M${this.x(from)},${this.y(0)}V${this.y(height)}H${this.x(to)}V${this.y(0)}Z`;
    this.put(key, "path").attr("class", `area series-${series}`).attr("d", bars.map(bar).join(""));
  }

  /** Dots at points [x, y]. */
  dots(key, points, series) {
    const path = points.map(([x, y]) => `M${this.x(x)},${this.y(y)}h0`).join("");
    this.put(key, "path").attr("class", `dots series-${series}`).attr("d", path);
  }

  /** A straight line across the panel, at one `x` or one `y`. */
  rule(key, { x, y }, series) {
    const { left, right, top, bottom } = this.box;
    this.put(key, "line")
      .attr("class", `line series-${series}`)
      .attr("x1", x === undefined ? left : this.x(x))
      .attr("x2", x === undefined ? right : this.x(x))
      .attr("y1", y === undefined ? top : this.y(y))
      .attr("y2", y === undefined ? bottom : this.y(y));
  }

  /** A word at a point, moved by so many pixels. */
  text(key, [x, y], text, { dx = 0, dy = 0, anchor = "start" } = {}) {
    this.#put(key, "text")
      .attr("x", this.x(x) + dx)
      .attr("y", this.y(y) + dy)
      .attr("text-anchor", anchor)
      .call((made) => write(made.node(), text));
  }
}
