// What the edit is doing, in words and as four short bars: look, plan, paint, finish.

import { say } from "./dom.js";

const PHASES = {
  build: [0, "Preparing the engines, once"],
  load: [0, "Loading the model"],
  read: [0, "Reading the photo"],
  encode: [0, "Looking at the photo"],
  vision: [0, "Looking at the photo"],
  plan: [1, "Writing the plan"],
  condition: [1, "Reading the plan again"],
  paint: [2, "Painting"],
  decode: [3, "Bringing out the picture"],
  composite: [3, "Carrying the change to full size"],
};
const COUNTED = new Set(["build", "load", "paint"]);

export class ProgressView {
  constructor({ row, stages, phase, count }) {
    Object.assign(this, { row, phase, count });
    this.bars = [...stages.children];
  }

  /** What is shown, in one line. */
  get words() {
    return `${this.phase.textContent} ${this.count.textContent}`.trim();
  }

  begin(words) {
    this.row.hidden = false;
    this.total = null;
    this.#stage(0);
    this.#words(words);
  }

  end() {
    this.row.hidden = true;
  }

  queued(position) {
    this.#words(position === 1 ? "One edit is before this one" : `${position} edits are before this one`);
  }

  started(name, total) {
    const [stage, words] = PHASES[name] ?? [this.at, name];
    this.total = COUNTED.has(name) ? total : null;
    this.#stage(Math.max(stage, this.at));
    this.#words(words);
  }

  progress(name, done) {
    if (!this.total) return;
    this.count.textContent = `${done} of ${this.total}`;
    this.bars[this.at].style.setProperty("--done", done / this.total);
  }

  #stage(stage) {
    this.at = stage;
    this.bars.forEach((bar, index) => {
      bar.className = index < stage ? "past" : index === stage ? "now" : "";
      bar.classList.toggle("counted", index === stage && Boolean(this.total));
      bar.style.setProperty("--done", 0);
    });
  }

  #words(words) {
    this.count.textContent = "";
    if (this.phase.textContent === words) return;
    this.phase.textContent = words;
    say(words);
  }
}
