// The bar of tools for the area to edit, and the note that an area is set.

import { AreaTool } from "./area.js";
import { at, settle } from "./dom.js";

export class AreaBar {
  constructor() {
    this.tool = new AreaTool({
      canvas: at("area-canvas"),
      numbers: { x: at("area-x"), y: at("area-y"), w: at("area-w"), h: at("area-h") },
      size: at("area-size"),
      sizeRow: at("area-size-row"),
      tools: [...document.querySelectorAll("[name=area-tool]")],
      onchange: () => { this.id += 1; },
    });
    this.id = 0; // edits in one and the same area have the same number
    this.ready = false;
    at("area-toggle").addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    at("area-done").addEventListener("click", () => this.close());
    at("area-clear").addEventListener("click", () => this.tool.clear());
    at("area-drop").addEventListener("click", () => {
      this.tool.clear();
      this.#note();
      settle();
    });
  }

  get isOpen() {
    return !at("area-bar").hidden;
  }

  /** Nothing is selected until the size of the next photo is known. */
  reset() {
    this.close();
    if (this.ready) this.tool.clear();
    this.ready = false;
    this.#note();
  }

  /** A photo of this size is open. */
  begin({ width, height }) {
    this.tool.begin(width, height);
    this.ready = true;
    this.#note();
  }

  /** The selected area with its number, or null for the whole photo. */
  async value() {
    if (!this.ready) return null;
    const id = this.id;
    const area = await this.tool.value();
    return area && { ...area, id };
  }

  open() {
    if (!this.ready) return;
    this.#show(true);
    this.tool.tools.find((tool) => tool.checked).focus();
  }

  close() {
    if (!this.isOpen) return;
    const inside = at("area-bar").contains(document.activeElement);
    this.#show(false);
    this.#note();
    if (inside) settle();
  }

  #show(on) {
    at("area-bar").hidden = at("area-canvas").hidden = !on;
    at("area-toggle").setAttribute("aria-expanded", String(on));
    document.body.classList.toggle("selecting", on);
  }

  #note() {
    const set = this.ready && this.tool.any;
    at("area-note").hidden = !set;
    at("area-toggle").classList.toggle("set", set);
  }
}
