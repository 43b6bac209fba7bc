// The slider between the photo and what became of it. At 0 all is edited, at 100 all is as before.

const STEP = 2;
const PAGE = 10;

export class Compare {
  /** `frame` holds both pictures; `divider` is the slider in it; a drag may begin anywhere on the frame. */
  constructor(frame, divider) {
    this.frame = frame;
    this.divider = divider;
    this.enabled = false;
    this.knobOnly = false; // a drag beside the slider is somebody else's then
    frame.addEventListener("pointerdown", (event) => this.#grab(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    frame.addEventListener("pointerup", () => this.#release());
    frame.addEventListener("pointercancel", () => this.#release());
    divider.addEventListener("keydown", (event) => this.#key(event));
    this.set(50);
  }

  set(at) {
    this.at = Math.min(100, Math.max(0, at));
    const shown = Math.round(this.at);
    this.frame.style.setProperty("--at", `${this.at}%`);
    this.frame.classList.toggle("no-before", this.at < 12);
    this.frame.classList.toggle("no-after", this.at > 88);
    this.divider.setAttribute("aria-valuenow", shown);
    this.divider.setAttribute("aria-valuetext", words(shown));
  }

  /** The first sight of a result: all of it, then the photo comes in from the left to half and half. */
  reveal() {
    this.set(50);
    this.frame.classList.remove("reveal");
    void this.frame.offsetWidth; // so that the animation starts again
    this.frame.classList.add("reveal");
  }

  #grab(event) {
    if (!this.enabled || event.button !== 0) return;
    if (this.knobOnly && !this.divider.contains(event.target)) return;
    this.frame.classList.remove("reveal");
    this.frame.setPointerCapture(event.pointerId);
    this.frame.classList.add("dragging");
    this.held = true;
    this.#drag(event);
  }

  #drag(event) {
    if (!this.held) return;
    const box = this.frame.getBoundingClientRect();
    this.set(((event.clientX - box.left) / box.width) * 100);
  }

  #release() {
    this.held = false;
    this.frame.classList.remove("dragging");
  }

  #key(event) {
    const to = {
      ArrowLeft: this.at - STEP,
      ArrowDown: this.at - STEP,
      ArrowRight: this.at + STEP,
      ArrowUp: this.at + STEP,
      PageDown: this.at - PAGE,
      PageUp: this.at + PAGE,
      Home: 0,
      End: 100,
    }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.frame.classList.remove("reveal");
    this.set(to);
  }
}

function words(at) {
  if (at === 0) return "all edited";
  return at === 100 ? "all as before" : `left ${at} % as before, the rest edited`;
}
