// The pictures on the stage: the photo, what became of it, and the painting while it emerges.

const SOFTEST = 1.6; // blur of the first preview, in hundredths of the stage's width
const LEAVE = 400; // milliseconds in which the last preview gives way to the picture

export class Stage {
  constructor({ frame, before, after, previews }) {
    Object.assign(this, { frame, before, after, previews });
  }

  /** The photo's size in pixels, upright: the frame takes its shape and enlarges it at most twice. */
  shape(width, height) {
    this.frame.style.setProperty("--ratio", width / height);
    this.frame.style.setProperty("--widest", `${width * 2}px`);
  }

  /** Show the photo; false where the browser can't read this format. */
  async showBefore(blob) {
    this.before.hidden = false;
    return show(this.before, blob);
  }

  /** Show an edited picture, or none. */
  async showAfter(blob) {
    if (blob) await show(this.after, blob);
    else this.after.removeAttribute("src");
    this.after.hidden = !blob;
  }

  /** A preview fades in over the one before it; `share` of the painting is done, and the picture clears up with it. */
  preview(source, share) {
    const picture = new Image();
    picture.alt = "";
    picture.src = source;
    picture.style.setProperty("--blur", `${(1 - share) * SOFTEST + 0.1}cqw`);
    const covered = [...this.previews.children];
    picture.addEventListener("animationend", () => covered.forEach((old) => old.remove()), { once: true });
    this.previews.append(picture);
  }

  endPreviews() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    for (const picture of this.previews.children) {
      const leaving = picture.animate({ opacity: 0 }, { duration: still ? 0 : LEAVE, fill: "forwards" });
      leaving.onfinish = () => picture.remove();
    }
  }
}

async function show(image, blob) {
  const url = URL.createObjectURL(blob);
  try {
    image.src = url;
    await image.decode();
    return true;
  } catch {
    return false;
  } finally {
    URL.revokeObjectURL(url); // the picture is loaded, or never will be
  }
}
