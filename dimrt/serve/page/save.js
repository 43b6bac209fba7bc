// Saving: the full-size result in a format of the reader's choice, as a download.

const FORMATS = [
  { name: "jpeg", label: "JPEG", end: "jpg", types: ["image/jpeg"], words: "Small, opens everywhere" },
  { name: "png", label: "PNG", end: "png", types: ["image/png", "image/tiff"], words: "Lossless, large" },
  { name: "webp", label: "WebP", end: "webp", types: ["image/webp", "image/avif"], words: "Smaller than JPEG" },
];

export class SaveMenu {
  /** `menu` is a popover, `list` takes a button for each format; `save` is called with the format that was chosen. */
  constructor({ menu, list, button, save }) {
    Object.assign(this, { menu, list, button });
    for (const format of FORMATS) list.append(this.#item(format, save));
    menu.addEventListener("toggle", (event) => this.#toggled(event));
  }

  /** The photo's own format comes first; deep photos are told what keeps their depth. */
  begin(file, depth) {
    const own = FORMATS.find((format) => format.types.includes(file.type)) ?? FORMATS[0];
    const rank = (item) => (item.dataset.format === own.name ? 0 : 1);
    const items = [...this.list.children].sort((one, other) => rank(one) - rank(other));
    this.list.replaceChildren(...items);
    for (const item of items) {
      const format = FORMATS.find((known) => known.name === item.dataset.format);
      const deep = depth === 16 ? (format.name === "png" ? ", keeps all 16 bits" : ", 8 of 16 bits") : "";
      item.querySelector(".quiet").textContent = format.words + deep;
    }
  }

  #item(format, save) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const label = document.createElement("span");
    const words = document.createElement("span");
    item.dataset.format = format.name;
    button.type = "button";
    button.className = "menu-item";
    label.textContent = format.label;
    words.className = "quiet small";
    button.append(label, words);
    button.addEventListener("click", () => {
      this.menu.hidePopover();
      save(format);
    });
    item.append(button);
    return item;
  }

  /** The menu opens above its button, inside the window. */
  #toggled(event) {
    if (event.newState !== "open") return;
    const at = this.button.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.menu;
    const left = Math.min(Math.max(12, at.right - offsetWidth), innerWidth - offsetWidth - 12);
    const above = at.top - offsetHeight - 8;
    this.menu.style.left = `${left}px`;
    this.menu.style.top = `${above >= 8 ? above : Math.min(at.bottom + 8, innerHeight - offsetHeight - 8)}px`;
    this.list.querySelector("button").focus();
  }
}

/** Hand a file over as a download, named after the photo; returns that name. */
export function download(blob, photoName, format) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${photoName.replace(/\.[^.]*$/, "") || "photo"}-edited.${format.end}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads it after the click
  return link.download;
}
