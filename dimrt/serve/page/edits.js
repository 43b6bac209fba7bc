// The list of edits in force: the history of the picture, each with a way to take it out.

export class EditList {
  constructor(list, remove) {
    Object.assign(this, { list, remove });
  }

  /** Show these edits, { text, area }; with `pending`, the last one is being worked in. */
  show(edits, { pending = false } = {}) {
    const held = this.list.contains(document.activeElement);
    const last = pending ? edits.length - 1 : -1;
    this.list.replaceChildren(...edits.map((edit, index) => this.#item(edit, index, index === last)));
    this.list.hidden = !edits.length;
    if (held) (this.list.querySelector("button") ?? document.getElementById("instruction")).focus();
  }

  #item({ text, area }, index, pending) {
    const item = document.createElement("li");
    const words = document.createElement("span");
    words.textContent = text;
    item.append(words);
    if (area) words.append(note("in an area"));
    item.classList.toggle("pending", pending);
    if (!pending) item.append(this.#button(text, index));
    return item;
  }

  #button(text, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button icon-only plain";
    button.setAttribute("aria-label", `Remove “${text}”`);
    button.append(icon("close"));
    button.addEventListener("click", () => this.remove(index));
    return button;
  }
}

function note(words) {
  const small = document.createElement("small");
  small.append(icon("area"), words);
  return small;
}

function icon(name) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  picture.append(use);
  return picture;
}
