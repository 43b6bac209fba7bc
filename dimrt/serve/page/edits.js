// The list of instructions in force: the history of the picture, each with a way to take it out.

export class EditList {
  constructor(list, remove) {
    Object.assign(this, { list, remove });
  }

  /** Show these instructions; with `pending`, the last one is being worked in. */
  show(instructions, { pending = false } = {}) {
    const held = this.list.contains(document.activeElement);
    this.list.replaceChildren(...instructions.map((text, index) => this.#item(text, index, pending && index === instructions.length - 1)));
    this.list.hidden = !instructions.length;
    if (held) (this.list.querySelector("button") ?? document.getElementById("instruction")).focus();
  }

  #item(text, index, pending) {
    const item = document.createElement("li");
    const words = document.createElement("span");
    words.textContent = text;
    item.append(words);
    item.classList.toggle("pending", pending);
    if (!pending) item.append(this.#button(text, index));
    return item;
  }

  #button(text, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button icon-only plain";
    button.setAttribute("aria-label", `Remove “${text}”`);
    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    icon.setAttribute("class", "icon");
    icon.setAttribute("aria-hidden", "true");
    use.setAttribute("href", "/page/icons.svg#close");
    icon.append(use);
    button.append(icon);
    button.addEventListener("click", () => this.remove(index));
    return button;
  }
}
