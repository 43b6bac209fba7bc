// The ways in for a photo: chosen, dropped anywhere, pasted.

import { at, viewed } from "./dom.js";

/** Call `open` with each file that comes in. */
export function openDoors(open) {
  for (const id of ["choose", "change"]) at(id).addEventListener("click", () => at("chooser").click());
  at("chooser").addEventListener("change", ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = "";
  });
  addEventListener("dragenter", (event) => carriesFiles(event) && veil(true));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("dragleave", (event) => event.relatedTarget === null && veil(false));
  addEventListener("drop", (event) => {
    veil(false);
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!file || viewed() === "token") return;
    event.preventDefault();
    open(file);
  });
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files") && viewed() !== "token";
}

function veil(on) {
  at("veil").hidden = !on;
}
