// The plan as it is written: five sections, set one by one while the text streams in.

const TITLES = [
  "Edit Instruction",
  "Global Layout Perception",
  "Local Object Perception",
  "Edit Area Localization",
  "Edited Image Imagination",
];

/** Texts of the five sections of a plan that may be unfinished; undefined for one that has not begun. */
export function sections(text) {
  const found = [];
  let start = 0;
  for (const title of TITLES) {
    const words = title.replaceAll(" ", "\\s+");
    const marks = "^[ \\t#>*_-]*(?:\\(?\\d+[.):]?[ \\t]*)?[*_]*";
    const heading = new RegExp(`${marks}${words}[*_ \\t]*[:\uff1a][*_]*`, "im").exec(text.slice(start));
    if (heading === null) continue;
    const end = start + heading.index + heading[0].length;
    found.push({ title, begin: start + heading.index, end });
    start = end;
  }
  const texts = found.map(({ end }, index) => text.slice(end, found[index + 1]?.begin ?? text.length).trim());
  return TITLES.map((title) => texts[found.findIndex((section) => section.title === title)]);
}

/** A plan on its way, without a last line that is about to become a title. */
function settled(text) {
  const end = text.lastIndexOf("\n") + 1;
  const line = text.slice(end).replace(/^[\s#>*_-]*(?:\(?\d+[.):]?)?[\s*_]*/, "").toLowerCase();
  const begun = line.replace(/\s+/g, " ").trimEnd();
  return TITLES.some((title) => title.toLowerCase().startsWith(begun)) ? text.slice(0, end) : text;
}

/** Shows a plan in an ordered list, and keeps each element while its text grows. */
export class PlanView {
  constructor(list) {
    this.list = list;
    this.text = "";
    this.parts = TITLES.map((title) => {
      const item = document.createElement("li");
      const heading = document.createElement("h3");
      const body = document.createElement("p");
      heading.textContent = title;
      item.append(heading, body);
      list.append(item);
      return { item, body };
    });
    this.show("");
  }

  /** Start again with an empty plan that is being written. */
  begin() {
    this.show("");
    this.list.classList.add("writing");
    this.list.setAttribute("aria-busy", "true");
  }

  /** A piece of the text as it is written. */
  add(piece) {
    this.text += piece;
    this.#set(sections(settled(this.text)));
  }

  /** A finished plan; sections by title where they are known. */
  show(text, byTitle = null) {
    this.text = text;
    this.list.classList.remove("writing");
    this.list.removeAttribute("aria-busy");
    this.#set(byTitle ? TITLES.map((title) => byTitle[title] || undefined) : sections(text));
  }

  #set(texts) {
    const last = texts.findLastIndex((text) => text !== undefined);
    this.parts.forEach(({ item, body }, index) => {
      const text = texts[index] ?? "";
      if (body.textContent !== text) body.textContent = text;
      item.classList.toggle("begun", texts[index] !== undefined);
      item.classList.toggle("pen", index === Math.max(last, 0));
    });
  }
}
