// One photo and its edits: what was asked, what came of it, what is being done now.

import { Refused } from "./api.js";
import { History } from "./history.js";
import { dropJob, fetchPhoto, fetchResult, forgetPhoto, runJob, sendPhoto, SHOWN, WHOLE } from "./job.js";
import { key, layers } from "./layers.js";

const BIG = 12e6; // pixels above which the server's smaller rendering is shown in place of the file
const HEAVY = 25e6; // bytes above which the browser isn't even asked to read the file

/**
 * Tells what happens by events, with details: "photo" (one is open), "size" (what the server knows of it), "running"
 * (edits, text), "step" (type and data of a job's event), "failed" (message, status, text), "shown" (state, fresh,
 * cancelled, text). `text` is what the reader typed, null where nothing was.
 */
export class Studio extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.file = null;
    this.running = null;
  }

  /** Open a photo in place of the one before it, which stays where the server refuses the new one. Throws its words. */
  async open(file) {
    this.opening = file;
    const sending = sendPhoto(file);
    sending.catch(() => {}); // it is awaited below, perhaps after it has failed
    if (this.file) await sending;
    if (this.opening !== file) return;
    this.cancel();
    this.running = null;
    this.#forget();
    Object.assign(this, { file, known: null, sending, history: new History(), painted: new Map() });
    this.stage.endPreviews();
    await this.stage.showAfter(null);
    const readable = file.size < HEAVY && (await this.stage.showBefore(file));
    if (file !== this.file) return;
    if (readable) {
      this.stage.shape(this.stage.before.naturalWidth, this.stage.before.naturalHeight);
      this.#tell("photo");
    }
    const known = await this.#send();
    if (file !== this.file) return;
    this.small = !readable || known.width * known.height > BIG;
    if (this.small) await this.stage.showBefore(await fetchPhoto(known.id));
    this.stage.shape(known.width, known.height);
    if (!readable) this.#tell("photo");
    this.#tell("size", known);
  }

  get shown() {
    return this.history.current;
  }

  /** One more edit: { text, area }. */
  edit(edit, options) {
    return this.#reach({ edits: [...this.shown.edits, edit], options }, edit.text);
  }

  /** All edits but one. */
  remove(index) {
    const { edits, options } = this.shown;
    return this.#reach({ edits: edits.filter((_, other) => other !== index), options }, null);
  }

  undo() {
    if (!this.running && this.history.canUndo) this.#show(this.history.undo());
  }

  redo() {
    if (!this.running && this.history.canRedo) this.#show(this.history.redo());
  }

  /** Stop what is being done; everything is then as before it. */
  cancel() {
    this.running?.abort();
  }

  /** The current picture at full size; painted again where the server has dropped it. Null when that was stopped. */
  saved(format) {
    return this.#fetch(this.shown, { format });
  }

  /** Of the photo's size, the share that `magnify` shows. */
  get share() {
    return Math.min(1, WHOLE / Math.max(this.known.width, this.known.height));
  }

  /** Show the photo, and what became of it, at full size; false when that was stopped. */
  async magnify() {
    const { file, known, shown: state } = this;
    const longest = Math.max(known.width, known.height);
    if (longest > SHOWN && this.small) {
      const whole = await fetchPhoto(known.id, WHOLE);
      if (file !== this.file) return false;
      await this.stage.showBefore(whole);
      this.small = false;
    }
    if (longest > SHOWN && state.picture && !state.whole) {
      const whole = await this.#fetch(state, { format: "jpeg", quality: 92, max: WHOLE });
      if (!whole || state !== this.shown) return false;
      state.whole = whole;
      await this.stage.showAfter(whole);
    }
    return true;
  }

  /** A state's picture as the server gives it, painted again where it has been dropped; null when that was stopped. */
  async #fetch(state, query) {
    try {
      return await fetchResult(state.job, query);
    } catch (error) {
      if (!gone(error)) throw error;
    }
    this.painted.delete(key(state));
    return (await this.#run(state, null)) ? fetchResult(state.job, query) : null;
  }

  /** Go to a state: one that was there before, or a new one. */
  async #reach(state, text) {
    if (this.running) return;
    const same = this.history.states.find((old) => key(old) === key(state) && (old.picture || !state.edits.length));
    if (same) {
      this.#push({ ...same });
      await this.#show(this.shown);
    } else {
      await this.#run(state, text);
    }
  }

  /** Paint a state and keep in it what came of it; whether it came to its end. */
  async #run(state, text) {
    const stop = new AbortController();
    this.running = stop;
    this.#tell("running", { edits: state.edits, text });
    try {
      const { id, result } = await this.#paint(state, stop.signal);
      const picture = await fetchResult(id, { format: "jpeg", quality: 92, max: SHOWN }, stop.signal);
      Object.assign(state, { job: id, result, picture });
      if (state !== this.shown) this.#push(state);
      this.running = null;
      await this.#show(state, true);
      return true;
    } catch (error) {
      if (this.running !== stop) return false; // another photo was opened meanwhile
      const cancelled = error.name === "AbortError";
      this.running = null;
      this.stage.endPreviews();
      if (!cancelled) this.#tell("failed", { message: error.message, status: error.status, text });
      this.#tell("shown", { state: this.shown, fresh: false, cancelled, text });
      return false;
    }
  }

  /** Paint the last layer of a state on what lies below it. What the server has dropped is sent or painted again. */
  async #paint({ edits, options }, signal) {
    const on = (type, data) => this.#tell("step", { type, data });
    const { below, top } = layers(edits);
    const instructions = top.map((edit) => edit.text);
    for (let tries = 3; ; tries -= 1) {
      const { id: photo } = await this.#send();
      signal.throwIfAborted();
      const base = below.length ? await this.#job({ edits: below, options }, signal) : null;
      try {
        const done = await runJob({ photo, base, instructions, area: top[0].area, options }, on, signal);
        this.painted.set(key({ edits, options }), { id: done.id, photo });
        return done;
      } catch (error) {
        if (tries === 1 || !gone(error)) throw error;
        if (error.code === "no_such_job") this.painted.delete(key({ edits: below, options }));
        else this.sending = null;
      }
    }
  }

  /** A job of the photo as the server has it now whose result has these edits: one that was done, or a new one. */
  async #job(state, signal) {
    const done = this.painted.get(key(state));
    if (done?.photo === this.known.id) return done.id;
    return (await this.#paint(state, signal)).id;
  }

  /** Send the photo, once; everybody waits for the same answer. */
  async #send() {
    this.sending ??= sendPhoto(this.file);
    const sending = this.sending;
    try {
      const known = await sending;
      if (sending === this.sending) this.known = known;
      return known;
    } catch (error) {
      if (sending === this.sending) this.sending = null;
      throw error;
    }
  }

  #push(state) {
    this.history.push(state);
    const keys = (kept) => [key(kept), key({ ...kept, edits: layers(kept.edits).below })];
    const needed = new Set(this.history.states.flatMap(keys));
    for (const [name, { id }] of this.painted) {
      if (needed.has(name)) continue;
      this.painted.delete(name);
      dropJob(id); // nobody can redo it
    }
  }

  async #show(state, fresh = false) {
    await this.stage.showAfter(state.whole ?? state.picture ?? null);
    this.stage.endPreviews();
    this.#tell("shown", { state, fresh, cancelled: false, text: null });
  }

  #forget() {
    if (!this.file) return;
    for (const { id } of this.painted.values()) dropJob(id);
    if (this.known) forgetPhoto(this.known.id);
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Whether the server no longer has what was asked for. */
function gone(error) {
  return error instanceof Refused && error.status === 404;
}
