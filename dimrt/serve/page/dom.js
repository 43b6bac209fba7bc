// What every part of the page uses: its elements, its voice, and which of its three views is shown.

/** The element with that id. */
export const at = (id) => document.getElementById(id);

/** Have a screen reader say something when it has a moment. */
export function say(words) {
  at("status").textContent = words;
}

/** Show what went wrong, or, with `calm`, what is worth knowing; null takes it away. */
export function notice(words, calm = false) {
  at("notice").hidden = !words;
  at("notice").classList.toggle("calm", calm);
  at("notice-text").textContent = words ?? "";
  at("alert").textContent = calm ? "" : (words ?? "");
  if (words) at("notice").scrollIntoView({ block: "nearest" });
}

/** Show "token" (the key is missing), "welcome" (no photo yet) or "work" (a photo). */
export function view(name) {
  document.body.dataset.view = name;
  for (const id of ["token", "welcome", "work"]) at(id).hidden = id !== name;
  for (const id of ["change", "file"]) at(id).hidden = name !== "work";
  if (name === "work") at("notice-place").append(at("notice")); // beside what the reader types
  else document.querySelector("main").before(at("notice"));
}

export const viewed = () => document.body.dataset.view;

/** Put the focus where the reader goes on; a touch screen's keyboard stays down until it is wanted. */
export function settle() {
  if (viewed() !== "work") at("choose").focus();
  else (matchMedia("(pointer: coarse)").matches ? at("edits-title") : at("instruction")).focus({ preventScroll: true });
}

at("notice-close").addEventListener("click", () => {
  notice(null);
  settle();
});
