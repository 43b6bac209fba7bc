// The photo at 100 %: one of its pixels on one of the screen's. The stage scrolls then, by wheel, touch, keys or drag.

export class Zoom {
  /** `stage` holds `frame`, which `compare` divides; `load` brings the pictures at full size, and tells whether it did. */
  constructor({ stage, frame, button, compare, load }) {
    Object.assign(this, { stage, frame, button, compare, load, on: false, width: 0 });
    button.addEventListener("click", () => this.toggle());
    stage.addEventListener("dblclick", (event) => this.toggle(event));
    stage.addEventListener("pointerdown", (event) => this.#hold(event));
    stage.addEventListener("pointermove", (event) => this.#pull(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => this.#let());
    stage.addEventListener("scroll", () => this.#scrolled());
    new ResizeObserver(() => this.#measure()).observe(frame);
  }

  /** Offer the photo's pictures of this width, a `share` of the photo's own; 0 where there is no photo. */
  offer(width, share = 1) {
    this.end();
    Object.assign(this, { width: Math.round(width * share), percent: `${Math.round(100 * share)} %` });
    this.#label(this.percent, `Show at ${this.percent}`);
    this.#measure();
  }

  /** Between fitted and 100 %; `event` says around which point. */
  async toggle(event = null) {
    if (this.button.disabled) return;
    if (this.on) return this.end();
    const at = this.#point(event);
    this.button.setAttribute("aria-busy", "true");
    let loaded;
    try {
      loaded = await this.load();
    } finally {
      this.button.removeAttribute("aria-busy");
    }
    if (loaded) this.#begin(at);
  }

  end() {
    if (!this.on) return;
    this.on = false;
    this.stage.classList.remove("zoomed");
    this.stage.removeAttribute("tabindex");
    this.frame.style.removeProperty("--zoomed");
    this.compare.knobOnly = false;
    this.#label(this.percent, `Show at ${this.percent}`);
  }

  /** A photo that the window shows at its size or larger has nothing more to show. */
  #measure() {
    if (!this.on) this.button.disabled = this.frame.clientWidth * devicePixelRatio >= this.width;
  }

  #begin(at) {
    this.on = true;
    this.frame.style.setProperty("--zoomed", `${this.width / devicePixelRatio}px`);
    this.frame.classList.remove("reveal"); // the first sight of a result is over
    this.stage.classList.add("zoomed");
    this.stage.tabIndex = 0; // so that the arrow keys scroll it
    this.compare.knobOnly = true;
    this.#label("Fit", "Fit the photo into the window");
    const { stage, frame } = this;
    stage.scrollTo(
      frame.offsetLeft + at.x * frame.offsetWidth - stage.clientWidth / 2,
      frame.offsetTop + at.y * frame.offsetHeight - stage.clientHeight / 2,
    );
    this.left = stage.scrollLeft;
    this.compare.set(this.#across(stage.clientWidth / 2));
  }

  /** Where in the frame an event is, as shares of its sides; the middle without one. */
  #point(event) {
    if (!event) return { x: 0.5, y: 0.5 };
    const box = this.frame.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  #label(word, name) {
    this.button.lastElementChild.textContent = word;
    this.button.setAttribute("aria-label", name);
  }

  /** The place of a point of the stage's window across the frame, in percent. */
  #across(x) {
    return ((this.stage.scrollLeft + x - this.frame.offsetLeft) / this.frame.offsetWidth) * 100;
  }

  /** The slider keeps its place in the window, not in the photo. */
  #scrolled() {
    if (!this.on) return;
    const x = (this.compare.at / 100) * this.frame.offsetWidth + this.frame.offsetLeft - this.left;
    this.left = this.stage.scrollLeft;
    this.compare.set(this.#across(x));
  }

  #hold(event) {
    if (!this.on || event.pointerType !== "mouse" || event.button !== 0 || this.compare.held) return;
    const { scrollLeft: left, scrollTop: top } = this.stage;
    this.held = { left: left + event.clientX, top: top + event.clientY };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.classList.add("held");
  }

  #pull(event) {
    if (!this.held) return;
    this.stage.scrollTo(this.held.left - event.clientX, this.held.top - event.clientY);
  }

  #let() {
    this.held = null;
    this.stage.classList.remove("held");
  }
}
