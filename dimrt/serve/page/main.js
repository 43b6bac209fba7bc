// The page: what the reader does goes to the studio, what the studio tells goes onto the page.

import { askJson, connection, keepToken, Refused, takeToken } from "./api.js";
import { AreaTool } from "./area.js";
import { Compare } from "./compare.js";
import { EditList } from "./edits.js";
import { PlanView } from "./plan.js";
import { ProgressView } from "./progress.js";
import { download, SaveMenu } from "./save.js";
import { Stage } from "./stage.js";
import { Studio } from "./studio.js";
import { EXAMPLES, facts, size } from "./words.js";

const at = (id) => document.getElementById(id);
const typed = at("instruction");
const say = (words) => { at("status").textContent = words; };
/** Where the reader goes on; a touch screen's keyboard stays down until it is wanted. */
const settle = () => (matchMedia("(pointer: coarse)").matches ? at("edits-title") : typed).focus({ preventScroll: true });

const stage = new Stage({ frame: at("frame"), before: at("before"), after: at("after"), previews: at("previews") });
const studio = new Studio(stage);
const compare = new Compare(at("frame"), at("divider"));
const plan = new PlanView(at("plan"));
const progress = new ProgressView({ row: at("progress"), stages: at("stages"), phase: at("phase"), count: at("phase-count"), say });
const edits = new EditList(at("edits"), (index) => studio.remove(index));
const menu = new SaveMenu({ menu: at("save-menu"), list: at("save-formats"), button: at("save"), save });
const area = new AreaTool({
  canvas: at("area-canvas"),
  numbers: { x: at("area-x"), y: at("area-y"), w: at("area-w"), h: at("area-h") },
  size: at("area-size"),
  sizeRow: at("area-size-row"),
  tools: [...document.querySelectorAll("[name=area-tool]")],
  onchange: () => { area.id += 1; },
});

area.id = 0; // edits in one and the same area have the same number

// ---- views: the key is missing, no photo yet, a photo -------------------------------------------------------------

function view(name) {
  document.body.dataset.view = name;
  for (const id of ["token", "welcome", "work"]) at(id).hidden = id !== name;
  for (const id of ["change", "file"]) at(id).hidden = name !== "work";
  if (name === "work") at("notice-place").append(at("notice")); // beside what the reader types
  else document.querySelector("main").before(at("notice"));
}

function askForToken(problem) {
  view("token");
  at("token-problem").hidden = !problem;
  at("token-problem").textContent = problem ?? "";
  at("token-field").focus();
}

async function start() {
  if (!takeToken()) return askForToken();
  try {
    await introduce();
    view(studio.file ? "work" : "welcome");
    if (studio.file) settle();
  } catch (error) {
    refused(error);
  }
}

/** Say what runs here. Anybody may ask for that; whether the key fits shows at the first address that needs it. */
async function introduce() {
  await askJson("/v1/models");
  const facts = await askJson("/health");
  at("engine-text").textContent = facts.bundle;
  at("engine").title = facts.provider;
  at("style").replaceChildren(...facts.plan_styles.map((style) => new Option(style, style)));
  at("style-row").hidden = facts.plan_styles.length < 2;
}

function refused(error) {
  if (error instanceof Refused && error.status === 401) askForToken("This isn't the key of the server that runs now.");
  else notice(error.message);
}

/** Show what went wrong, or, with `calm`, what is worth knowing; null takes it away. */
function notice(words, calm = false) {
  at("notice").hidden = !words;
  at("notice").classList.toggle("calm", calm);
  at("notice-text").textContent = words ?? "";
  at("alert").textContent = words ?? "";
  if (words) at("notice").scrollIntoView({ block: "nearest" });
}

// ---- opening a photo --------------------------------------------------------------------------------------------

async function open(file) {
  if (unsaved() && !confirm("Open another photo? The edits of this one are not saved.")) return;
  notice(null);
  closeArea();
  opening(file);
  try {
    await studio.open(file);
  } catch (error) {
    opening(null);
    if (studio.file === file) {
      studio.file = null;
      view("welcome");
      at("choose").focus();
    }
    refused(error);
  }
}

/** Whether leaving the photo would lose something. */
const unsaved = () => Boolean(studio.file && studio.shown.picture && !studio.shown.saved);
addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());

/** Say that a file is on its way: one that the browser can't read shows only after the server has. */
function opening(file) {
  document.body.classList.toggle("opening", file !== null);
  at("drop-line").textContent = file ? `Opening ${file.name || "the photo"}` : "Drop a photo here";
  if (file) say(at("drop-line").textContent);
  at("file-size").textContent = file ? "opening another" : studio.known ? size(studio.known) : "";
}

studio.addEventListener("photo", () => {
  opening(null);
  view("work");
  at("file-name").textContent = studio.file.name || "Pasted photo";
  typed.value = "";
  grow();
  show(studio.shown, false);
  settle();
});

studio.addEventListener("size", ({ detail }) => {
  at("file-size").textContent = size(detail);
  area.begin(detail.width, detail.height);
  menu.begin(studio.file, detail.depth);
  say(`Photo open, ${detail.width} by ${detail.height} pixels. Say what should change.`);
  if (detail.notes.length) notice(detail.notes.join(" "), true);
});

const choose = () => at("chooser").click();
at("choose").addEventListener("click", choose);
at("change").addEventListener("click", choose);
at("chooser").addEventListener("change", ({ target }) => {
  if (target.files.length) open(target.files[0]);
  target.value = "";
});

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") && document.body.dataset.view !== "token";
const veil = (on) => { at("veil").hidden = !on; };
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
  if (!file || document.body.dataset.view === "token") return;
  event.preventDefault();
  open(file);
});

// ---- editing ----------------------------------------------------------------------------------------------------

at("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (studio.running) return studio.cancel();
  const text = typed.value.trim();
  if (!text) return typed.focus();
  if (!at("seed").reportValidity() || !at("steps").reportValidity()) return;
  notice(null);
  closeArea();
  const where = await area.value();
  if (where) where.id = area.id;
  studio.edit({ text, area: where }, options());
});

/** What the reader set; what was left alone is the bundle's own. */
function options() {
  const wished = {};
  if (at("seed").value !== "") wished.seed = at("seed").valueAsNumber;
  if (at("steps").value !== "") wished.steps = at("steps").valueAsNumber;
  if (at("style").selectedIndex > 0) wished.plan_style = at("style").value;
  return wished;
}

studio.addEventListener("running", ({ detail: { edits: wished, text } }) => {
  if (text !== null) typed.value = "";
  grow();
  busy(true);
  edits.show(wished, { pending: text !== null });
  at("chips").hidden = true;
  typed.placeholder = "What else should change?";
  plan.begin();
  at("facts").textContent = "";
  progress.begin(studio.known ? "Starting" : "Sending the photo");
});

studio.addEventListener("step", ({ detail: { type, data } }) => {
  if (type === "queued") progress.queued(data.position);
  else if (type === "phase_started") progress.started(data.phase, data.total);
  else if (type === "progress") progress.progress(data.phase, data.done);
  else if (type === "plan_text") plan.add(data.text);
  else if (type === "plan_ready") plan.show(data.text, data.sections);
  else if (type === "preview") stage.preview(data.image, progress.total ? data.step / progress.total : 1);
  document.title = `${progress.words} – dimrt`; // an edit may take a while, and the reader be elsewhere
});

studio.addEventListener("failed", ({ detail: { message, status, text } }) => {
  if (status === 401) askForToken("The server was started anew; it has another key now.");
  else notice(message);
  if (text !== null && !typed.value) typed.value = text;
});

studio.addEventListener("shown", ({ detail: { state, fresh, cancelled, text } }) => {
  if (cancelled) {
    say("Cancelled. Nothing has changed.");
    if (text !== null && !typed.value) typed.value = text;
  }
  grow();
  show(state, fresh);
});

/** Put a state of the photo onto the page. */
function show(state, fresh) {
  busy(false);
  document.title = `${studio.file.name || "Photo"} – dimrt`;
  progress.end();
  edits.show(state.edits);
  plan.show(state.result?.plan?.text ?? "", state.result?.plan?.sections);
  const edited = Boolean(state.picture);
  const same = state.result?.composite === "unchanged";
  at("facts").textContent = state.result && !same ? facts(state.result) : "";
  if (same) at("facts").textContent = "The painter changed nothing that can be seen: the photo stays as it was. Try other words.";
  for (const id of ["divider", "tag-before", "tag-after"]) at(id).hidden = !edited;
  compare.enabled = edited;
  at("save").disabled = !edited;
  at("undo").disabled = !studio.history.canUndo;
  at("redo").disabled = !studio.history.canRedo;
  at("chips").hidden = state.edits.length > 0;
  typed.placeholder = state.edits.length ? "What else should change?" : "What should change?";
  if (!fresh) return;
  if (studio.history.at === 1 && studio.history.states.length === 2) compare.reveal();
  say(same ? at("facts").textContent : "Done. The slider compares before and after.");
}

function busy(on) {
  document.body.classList.toggle("busy", on);
  const held = document.activeElement;
  at("tools").hidden = on;
  if (on && held && !held.checkVisibility()) typed.focus(); // what had the focus is gone
  at("go").setAttribute("aria-label", on ? "Cancel" : "Edit");
  at("go-icon").setAttribute("href", `#icon-${on ? "stop" : "go"}`);
  if (on) for (const id of ["divider", "tag-before", "tag-after"]) at(id).hidden = true;
  if (on) compare.enabled = false;
}

// ---- the composer -----------------------------------------------------------------------------------------------

function grow() {
  typed.style.height = "auto";
  typed.style.height = `${typed.scrollHeight}px`;
}
typed.addEventListener("input", grow);
typed.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!studio.running) at("composer").requestSubmit();
});

for (const example of EXAMPLES) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "chip";
  chip.textContent = example;
  chip.addEventListener("click", () => {
    typed.value = example;
    grow();
    typed.focus();
  });
  const item = document.createElement("li");
  item.append(chip);
  at("chips").append(item);
}

// ---- the area ---------------------------------------------------------------------------------------------------

function openArea() {
  if (!studio.known || studio.running) return;
  at("area-bar").hidden = at("area-canvas").hidden = false;
  at("area-toggle").setAttribute("aria-expanded", "true");
  document.body.classList.add("selecting");
  area.tools.find((tool) => tool.checked).focus();
}

function closeArea() {
  if (at("area-bar").hidden) return;
  const inside = at("area-bar").contains(document.activeElement);
  at("area-bar").hidden = at("area-canvas").hidden = true;
  at("area-toggle").setAttribute("aria-expanded", "false");
  document.body.classList.remove("selecting");
  noteArea();
  if (inside) settle();
}

function noteArea() {
  at("area-note").hidden = !area.any;
  at("area-toggle").classList.toggle("set", area.any);
}

at("area-toggle").addEventListener("click", () => (at("area-bar").hidden ? openArea() : closeArea()));
at("area-done").addEventListener("click", closeArea);
at("area-clear").addEventListener("click", () => area.clear());
at("area-drop").addEventListener("click", () => {
  area.clear();
  noteArea();
  settle();
});

// ---- tools, keys, notices -----------------------------------------------------------------------------------------

at("undo").addEventListener("click", () => step("undo"));
at("redo").addEventListener("click", () => step("redo"));
at("cancel").addEventListener("click", () => studio.cancel());

function step(way) {
  studio[way]();
  const count = studio.shown.edits.length;
  say(count ? `${count} ${count === 1 ? "edit" : "edits"} in force` : "The photo as it was");
  if (at(way).disabled) (at(way === "undo" ? "redo" : "undo").disabled ? typed : at(way === "undo" ? "redo" : "undo")).focus();
}

async function save(format) {
  saving(true);
  try {
    const blob = await studio.saved(format.name);
    if (!blob) return;
    studio.shown.saved = true;
    say(`Saved as ${download(blob, studio.file.name, format)}`);
  } catch (error) {
    refused(error);
  } finally {
    saving(false);
  }
}

/** A large picture takes a while to be written; until then the button says so. */
function saving(on) {
  at("save-word").textContent = on ? "Saving" : "Save";
  at("save").disabled = on || !studio.shown.picture;
  if (on) at("save").setAttribute("aria-busy", "true");
  else at("save").removeAttribute("aria-busy");
  if (on) say("Saving");
  else if (document.activeElement === document.body && !at("save").disabled) at("save").focus();
}

addEventListener("keydown", (event) => {
  const writing = event.target.matches("textarea, input:not([type=radio], [type=range])");
  const key = event.key.toLowerCase();
  if (key === "escape") {
    if (document.querySelector(":popover-open")) return;
    if (studio.running) studio.cancel();
    else closeArea();
  } else if ((event.ctrlKey || event.metaKey) && !event.altKey && !(writing && event.target.value) && document.body.dataset.view === "work") {
    const way = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
    if (!way || at(way).disabled || studio.running) return;
    event.preventDefault();
    step(way);
  }
});

at("notice-close").addEventListener("click", () => {
  notice(null);
  if (document.body.dataset.view === "work") settle();
  else at("choose").focus();
});

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token-field").value);
  at("token-field").value = "";
  start();
});
addEventListener("hashchange", start);

connection.addEventListener("lost", () => {
  document.body.classList.add("lost");
  at("engine-text").textContent = "Not connected";
  notice("The server doesn't answer. This page tries again until it does.");
});
connection.addEventListener("back", () => {
  document.body.classList.remove("lost");
  notice(null);
  say("Connected again");
  introduce().catch(refused);
});

start();
