// Where the photo may change: a rectangle, or what a brush has painted. Coordinates are the photo's pixels.

import { maskPng } from "./png.js";

const DRAWN = 1536; // longest side of the canvas that keeps what the brush painted

export class AreaTool {
  constructor({ canvas, numbers, size, sizeRow, tools, onchange }) {
    Object.assign(this, { canvas, numbers, size, sizeRow, tools, onchange });
    this.mask = document.createElement("canvas");
    this.kind = "box";
    this.box = null;
    for (const tool of tools) tool.addEventListener("change", () => this.#choose(tool.value));
    for (const number of Object.values(numbers)) number.addEventListener("input", () => this.#typed());
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => this.#release());
    canvas.addEventListener("pointercancel", () => this.#release());
    canvas.addEventListener("pointerleave", () => this.#leave());
    new ResizeObserver(() => this.#draw()).observe(canvas);
  }

  /** Begin with a photo of this size, with nothing selected. */
  begin(width, height) {
    this.photo = { width, height };
    const scale = Math.min(1, DRAWN / Math.max(width, height));
    this.mask.width = Math.max(1, Math.round(width * scale));
    this.mask.height = Math.max(1, Math.round(height * scale));
    this.pen = this.mask.getContext("2d", { willReadFrequently: true });
    for (const name of ["x", "w"]) this.numbers[name].max = width;
    for (const name of ["y", "h"]) this.numbers[name].max = height;
    this.clear();
  }

  clear() {
    this.kind = this.#tool() === "box" ? "box" : "mask";
    this.box = null;
    this.pen.clearRect(0, 0, this.mask.width, this.mask.height);
    this.#changed();
  }

  /** Whether something is selected. */
  get any() {
    if (this.kind === "box") return this.box !== null;
    return this.#pixels().data.some((value, index) => index % 4 === 3 && value > 127);
  }

  /** What is selected, as a job takes it: { box: [x, y, w, h] }, { mask: Blob } or null. */
  async value() {
    if (!this.any) return null;
    if (this.kind === "box") return { box: [this.box.x, this.box.y, this.box.w, this.box.h] };
    return { mask: await maskPng(this.#pixels(), this.photo.width, this.photo.height) };
  }

  #pixels() {
    return this.pen.getImageData(0, 0, this.mask.width, this.mask.height);
  }

  #tool() {
    return this.tools.find((tool) => tool.checked).value;
  }

  #choose(tool) {
    const brush = tool !== "box";
    this.sizeRow.hidden = !brush;
    this.numbers.x.closest(".numbers").hidden = brush;
    if (brush && this.kind === "box") this.#boxToMask();
    this.#draw();
  }

  /** A brush goes on from the rectangle. */
  #boxToMask() {
    this.kind = "mask";
    this.pen.clearRect(0, 0, this.mask.width, this.mask.height);
    if (this.box === null) return;
    const scale = this.mask.width / this.photo.width;
    this.pen.fillStyle = "#fff";
    this.pen.fillRect(this.box.x * scale, this.box.y * scale, this.box.w * scale, this.box.h * scale);
    this.box = null;
  }

  #typed() {
    const { x, y, w, h } = this.numbers;
    const values = [x, y, w, h].map((number) => (number.value === "" ? NaN : Math.round(number.valueAsNumber)));
    if (values.some(Number.isNaN)) return;
    this.kind = "box";
    this.box = this.#within(values[0], values[1], values[0] + values[2], values[1] + values[3]);
    this.onchange();
    this.#draw();
  }

  /** The rectangle between two corners, inside the photo; null where nothing is left. */
  #within(x0, y0, x1, y1) {
    const clamp = (value, limit) => Math.min(limit, Math.max(0, Math.round(value)));
    const { width, height } = this.photo;
    const [left, right] = [clamp(Math.min(x0, x1), width), clamp(Math.max(x0, x1), width)];
    const [top, bottom] = [clamp(Math.min(y0, y1), height), clamp(Math.max(y0, y1), height)];
    return right > left && bottom > top ? { x: left, y: top, w: right - left, h: bottom - top } : null;
  }

  #point(event) {
    const shown = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - shown.left) / shown.width) * this.photo.width,
      y: ((event.clientY - shown.top) / shown.height) * this.photo.height,
    };
  }

  #press(event) {
    event.stopPropagation(); // below lies the slider
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.start = this.last = this.#point(event);
    if (this.#tool() !== "box") this.#stroke(this.start);
  }

  #move(event) {
    this.pointer = this.#point(event);
    if (this.start && this.#tool() === "box") {
      this.kind = "box";
      this.box = this.#within(this.start.x, this.start.y, this.pointer.x, this.pointer.y) ?? this.box;
    } else if (this.start) {
      this.#stroke(this.pointer);
    }
    this.#draw();
  }

  #release() {
    if (!this.start) return;
    this.start = null;
    this.#changed();
  }

  #leave() {
    this.pointer = null;
    this.#draw();
  }

  /** The brush's radius in the photo's pixels. */
  #radius() {
    return (Math.min(this.photo.width, this.photo.height) * Number(this.size.value)) / 200;
  }

  #stroke(to) {
    const scale = this.mask.width / this.photo.width;
    this.pen.globalCompositeOperation = this.#tool() === "erase" ? "destination-out" : "source-over";
    this.pen.strokeStyle = "#fff";
    this.pen.lineWidth = Math.max(1, 2 * this.#radius() * scale);
    this.pen.lineCap = "round";
    this.pen.beginPath();
    this.pen.moveTo(this.last.x * scale, this.last.y * scale);
    this.pen.lineTo(to.x * scale, to.y * scale + 0.01); // so that a tap leaves a dot
    this.pen.stroke();
    this.pen.globalCompositeOperation = "source-over";
    this.last = to;
    this.#draw();
  }

  #changed() {
    const box = this.kind === "box" ? this.box : null;
    for (const name of ["x", "y", "w", "h"]) this.numbers[name].value = box?.[name] ?? "";
    this.onchange();
    this.#draw();
  }

  /** What isn't selected lies under a veil. */
  #draw() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!this.photo || !clientWidth) return;
    const density = window.devicePixelRatio;
    this.canvas.width = Math.round(clientWidth * density);
    this.canvas.height = Math.round(clientHeight * density);
    const view = this.canvas.getContext("2d");
    const scale = this.canvas.width / this.photo.width;
    view.fillStyle = "rgb(12 12 14 / 0.56)";
    view.fillRect(0, 0, this.canvas.width, this.canvas.height);
    view.globalCompositeOperation = "destination-out";
    if (this.kind === "mask") view.drawImage(this.mask, 0, 0, this.canvas.width, this.canvas.height);
    if (this.kind === "box" && this.box) {
      const sides = [this.box.x, this.box.y, this.box.w, this.box.h].map((side) => side * scale);
      view.fillRect(...sides);
      view.globalCompositeOperation = "source-over";
      outline(view, density, () => view.rect(...sides));
    }
    view.globalCompositeOperation = "source-over";
    if (this.pointer && this.#tool() !== "box") {
      const [x, y, radius] = [this.pointer.x, this.pointer.y, this.#radius()].map((side) => side * scale);
      outline(view, density, () => view.arc(x, y, radius, 0, 2 * Math.PI));
    }
  }
}

/** White on black, so that it is seen on any photo. */
function outline(view, density, path) {
  for (const [style, width] of [["rgb(0 0 0 / 0.55)", 3], ["#fff", 1.5]]) {
    view.beginPath();
    path();
    view.strokeStyle = style;
    view.lineWidth = width * density;
    view.stroke();
  }
}
