// The page: what the reader does goes to the studio, what the studio tells goes onto the page.

import { askJson, connection, keepToken, Refused, takeToken } from "./api.js";
import { AreaBar } from "./areabar.js";
import { Compare } from "./compare.js";
import { Composer } from "./composer.js";
import { at, notice, say, settle, view, viewed } from "./dom.js";
import { openDoors } from "./doors.js";
import { EditList } from "./edits.js";
import { PlanView } from "./plan.js";
import { ProgressView } from "./progress.js";
import { download, SaveMenu } from "./save.js";
import { Stage } from "./stage.js";
import { Studio } from "./studio.js";
import { facts, size } from "./words.js";
import { Zoom } from "./zoom.js";

const stage = new Stage({ frame: at("frame"), before: at("before"), after: at("after"), previews: at("previews") });
const studio = new Studio(stage);
const area = new AreaBar();
const compare = new Compare(at("frame"), at("divider"));
const zoom = new Zoom({ stage: at("stage"), frame: at("frame"), button: at("zoom"), compare, load: magnify });
const composer = new Composer({ send, cancel: () => studio.cancel() });
const edits = new EditList(at("edits"), (index) => studio.remove(index));
const menu = new SaveMenu({ menu: at("save-menu"), list: at("save-formats"), button: at("save"), save });
const plan = new PlanView(at("plan"));
const progress = new ProgressView({
  row: at("progress"),
  stages: at("stages"),
  phase: at("phase"),
  count: at("phase-count"),
});

// ---- the key ------------------------------------------------------------------------------------------------------

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
  const { bundle, provider, plan_styles: styles } = await askJson("/health");
  at("engine-text").textContent = bundle;
  at("engine").title = provider;
  composer.styles = styles;
}

function askForToken(problem) {
  view("token");
  at("token-problem").hidden = !problem;
  at("token-problem").textContent = problem ?? "";
  at("token-field").focus();
}

function refused(error) {
  if (error instanceof Refused && error.status === 401) askForToken("This isn't the key of the server that runs now.");
  else notice(error.message);
}

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

/** Take the last message away; that the server doesn't answer stays said until it does. */
function unsay() {
  if (!document.body.classList.contains("lost")) notice(null);
}

// ---- the photo ----------------------------------------------------------------------------------------------------

async function open(file) {
  if (unsaved() && !confirm("Open another photo? The edits of this one are not saved.")) return;
  unsay();
  area.close();
  opening(file);
  try {
    await studio.open(file);
  } catch (error) {
    opening(null);
    if (studio.file === file) {
      studio.file = null;
      view("welcome");
      settle();
    }
    refused(error);
  }
}

/** Whether leaving the photo would lose something. */
function unsaved() {
  return Boolean(studio.file && studio.shown.picture && !studio.shown.saved);
}

/** Say that a file is on its way: one that the browser can't read shows only after the server has. */
function opening(file) {
  document.body.classList.toggle("opening", file !== null);
  at("drop-line").textContent = file ? `Opening ${file.name || "the photo"}` : "Drop a photo here";
  at("file-size").textContent = file ? "opening another" : studio.known ? size(studio.known) : "";
  if (file) say(at("drop-line").textContent);
}

studio.addEventListener("photo", () => {
  opening(null);
  view("work");
  at("file-name").textContent = name();
  area.reset();
  zoom.offer(0);
  composer.text = "";
  show(studio.shown, false);
  settle();
});

studio.addEventListener("size", ({ detail }) => {
  at("file-size").textContent = size(detail);
  area.begin(detail);
  zoom.offer(detail.width, studio.share);
  menu.begin(studio.file, detail.depth);
  say(`Photo open, ${detail.width} by ${detail.height} pixels. Say what should change.`);
  if (detail.notes.length) notice(detail.notes.join(" "), true);
});

function name() {
  return studio.file.name || "Pasted photo";
}

openDoors(open);
addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());

// ---- editing ------------------------------------------------------------------------------------------------------

async function send(text) {
  unsay();
  area.close();
  studio.edit({ text, area: await area.value() }, composer.options);
}

studio.addEventListener("running", ({ detail: { edits: wished, text } }) => {
  if (text !== null) composer.text = "";
  busy(true, wished.length);
  edits.show(wished, { pending: text !== null });
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
  composer.restore(text);
});

studio.addEventListener("shown", ({ detail: { state, fresh, cancelled, text } }) => {
  if (cancelled) say("Cancelled. Nothing has changed.");
  if (cancelled) composer.restore(text);
  show(state, fresh);
});

/** Put a state of the photo onto the page; a `fresh` one was painted just now. */
function show(state, fresh) {
  const same = state.result?.composite === "unchanged";
  busy(false, state.edits.length);
  document.title = `${name()} – dimrt`;
  progress.end();
  edits.show(state.edits);
  plan.show(state.result?.plan?.text ?? "", state.result?.plan?.sections);
  at("facts").textContent = state.result ? facts(state.result) : "";
  compared(Boolean(state.picture));
  at("save").disabled = !state.picture;
  if (zoom.on) magnify();
  at("undo").disabled = !studio.history.canUndo;
  at("redo").disabled = !studio.history.canRedo;
  if (!fresh) return;
  if (studio.history.at === 1 && studio.history.states.length === 2) compare.reveal();
  say(same ? at("facts").textContent : "Done. The slider compares before and after.");
}

function busy(on, count) {
  const held = document.activeElement;
  document.body.classList.toggle("busy", on);
  at("tools").hidden = on;
  composer.set({ busy: on, count });
  if (on) compared(false);
  if (on) zoom.end();
  if (on && held && !held.checkVisibility()) settle(); // what had the focus is gone
}

function compared(on) {
  for (const id of ["divider", "tag-before", "tag-after"]) at(id).hidden = !on;
  compare.enabled = on;
}

// ---- tools and keys -----------------------------------------------------------------------------------------------

at("undo").addEventListener("click", () => step("undo"));
at("redo").addEventListener("click", () => step("redo"));
at("cancel").addEventListener("click", () => studio.cancel());
at("area-toggle").addEventListener("click", () => zoom.end());

/** Undo or redo. */
function step(way) {
  studio[way]();
  const count = studio.shown.edits.length;
  say(count ? `${count} ${count === 1 ? "edit" : "edits"} in force` : "The photo as it was");
  if (!at(way).disabled) return;
  const other = at(way === "undo" ? "redo" : "undo");
  if (other.disabled) settle();
  else other.focus();
}

async function magnify() {
  area.close(); // it is drawn on the whole photo
  try {
    return await studio.magnify();
  } catch (error) {
    refused(error);
    return false;
  }
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
  at("save").setAttribute("aria-busy", String(on));
  if (on) say("Saving");
  else if (document.activeElement === document.body && !at("save").disabled) at("save").focus();
}

addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (key === "escape") {
    if (document.querySelector(":popover-open")) return;
    if (studio.running) studio.cancel();
    else if (zoom.on) zoom.end();
    else area.close();
    return;
  }
  const typing = event.target.matches("textarea, input:not([type=radio], [type=range])") && event.target.value;
  if (!(event.ctrlKey || event.metaKey) || event.altKey || typing || viewed() !== "work" || studio.running) return;
  const way = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
  if (way === null || at(way).disabled) return;
  event.preventDefault();
  step(way);
});

start();
