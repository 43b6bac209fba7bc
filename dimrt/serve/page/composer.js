// Where the reader types: the instruction, examples of one, the options.

import { at } from "./dom.js";
import { EXAMPLES } from "./words.js";

export class Composer {
  /** `send` is called with the text; `cancel` when its button is pressed while something is done. */
  constructor({ send, cancel }) {
    this.field = at("instruction");
    this.busy = false;
    this.field.addEventListener("input", () => this.#grow());
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.busy) at("composer").requestSubmit();
    });
    at("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.text.trim();
      if (this.busy) cancel();
      else if (!text) this.field.focus();
      else if (at("seed").reportValidity() && at("steps").reportValidity()) send(text);
    });
    at("chips").append(...EXAMPLES.map((example) => this.#chip(example)));
  }

  get text() {
    return this.field.value;
  }

  set text(words) {
    this.field.value = words;
    this.#grow();
  }

  /** Give the reader's words back, unless others were typed meanwhile. */
  restore(words) {
    if (words !== null && !this.text) this.text = words;
  }

  /** What the reader set; what was left alone is the bundle's own. */
  get options() {
    const wished = {};
    if (at("seed").value !== "") wished.seed = at("seed").valueAsNumber;
    if (at("steps").value !== "") wished.steps = at("steps").valueAsNumber;
    if (at("style").selectedIndex > 0) wished.plan_style = at("style").value;
    return wished;
  }

  /** The styles of plan that the bundle knows; with only one there is nothing to choose. */
  set styles(names) {
    at("style").replaceChildren(...names.map((name) => new Option(name, name)));
    at("style-row").hidden = names.length < 2;
  }

  /** While something is done the button cancels it. `count` is how many edits there are. */
  set({ busy, count }) {
    this.busy = busy;
    at("go").setAttribute("aria-label", busy ? "Cancel" : "Edit");
    at("go-icon").setAttribute("href", `#icon-${busy ? "stop" : "go"}`);
    at("chips").hidden = count > 0;
    this.field.placeholder = count ? "What else should change?" : "What should change?";
    this.#grow();
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #chip(example) {
    const item = document.createElement("li");
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = example;
    chip.addEventListener("click", () => {
      this.text = example;
      this.field.focus();
    });
    item.append(chip);
    return item;
  }
}
