// One photo and its edits: what was asked, what came of it, what is being done now.

import { Refused } from "./api.js";
import { History } from "./history.js";
import { dropJob, fetchPhoto, fetchResult, forgetPhoto, runJob, sendPhoto, SHOWN } from "./job.js";

const BIG = 12e6; // pixels above which the server's smaller rendering is shown in place of the file

/**
 * Tells what happens by events: "photo" (a photo is open), "size", "shown" (another state is current), "running", "step"
 * (detail: type, data of a job's event), "settled", "failed" (detail: message, text).
 */
export class Studio extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.file = null;
    this.running = null;
  }

  /** Open a photo in place of the one before it. Throws what the server has against it. */
  async open(file) {
    this.cancel();
    this.#forget();
    Object.assign(this, { file, known: null, sending: null, history: new History() });
    const opening = file;
    this.stage.endPreviews();
    await this.stage.showAfter(null);
    const readable = await this.stage.showBefore(file);
    const { naturalWidth, naturalHeight } = this.stage.before;
    if (readable) this.stage.shape(naturalWidth, naturalHeight);
    if (opening !== this.file) return;
    if (readable) this.#tell("photo");
    const known = await this.#send();
    if (opening !== this.file) return;
    if (!readable || known.width * known.height > BIG) await this.stage.showBefore(await fetchPhoto(known.id));
    this.stage.shape(known.width, known.height);
    if (!readable) this.#tell("photo");
    this.#tell("size", known);
  }

  get shown() {
    return this.history.current;
  }

  /** The instructions in force, with the ones that are being worked in. */
  get instructions() {
    return this.running?.instructions ?? this.shown.instructions;
  }

  /** One more instruction. */
  edit(text, area, options) {
    return this.#render({ instructions: [...this.shown.instructions, text], area, options }, text);
  }

  /** All instructions but one. */
  remove(index) {
    const { instructions, area, options } = this.shown;
    return this.#render({ instructions: instructions.filter((_, other) => other !== index), area, options }, null);
  }

  undo() {
    if (!this.running && this.history.canUndo) this.#show(this.history.undo());
  }

  redo() {
    if (!this.running && this.history.canRedo) this.#show(this.history.redo());
  }

  /** Stop what is being done; everything is then as before it. */
  cancel() {
    this.running?.stop.abort();
  }

  /** The current picture as a file at full size; painted again where the server has dropped it. Null when that was stopped. */
  async saved(format) {
    const state = this.shown;
    try {
      return await fetchResult(state.job, { format });
    } catch (error) {
      if (!gone(error)) throw error;
    }
    return (await this.#run(state, state, null)) ? fetchResult(state.job, { format }) : null;
  }

  /** Reach a state: from an earlier one that is the same, or by a job. `text` is what the reader typed. */
  async #render(wish, text) {
    if (this.running) return;
    const same = this.history.states.find((state) => key(state) === key(wish) && (state.picture || !wish.instructions.length));
    if (same) {
      this.#push({ ...same });
      this.#show(this.shown);
      return;
    }
    await this.#run(wish, wish, text);
  }

  /** Run the job of a state and keep what came of it in `state`; whether it came to its end. */
  async #run(wish, state, text) {
    const stop = new AbortController();
    this.running = { instructions: wish.instructions, stop, text };
    this.#tell("running", { instructions: wish.instructions, text });
    try {
      const { id, result } = await this.#job(wish, stop.signal);
      const picture = await fetchResult(id, { format: "jpeg", quality: 92, max: SHOWN }, stop.signal);
      Object.assign(state, { job: id, result, picture });
      if (state !== this.shown) this.#push(state);
      this.running = null;
      await this.#show(state, true);
      return true;
    } catch (error) {
      const cancelled = error.name === "AbortError";
      this.running = null;
      this.stage.endPreviews();
      if (!cancelled) this.#tell("failed", { message: error.message, status: error.status, text });
      this.#tell("shown", { state: this.shown, fresh: false, cancelled, text });
      return false;
    }
  }

  async #job({ instructions, area, options }, signal) {
    const on = (type, data) => this.#tell("step", { type, data });
    for (let again = false; ; again = true) {
      const { id } = await this.#send(signal);
      try {
        return await runJob({ photo: id, instructions, area, options }, on, signal);
      } catch (error) {
        // The server keeps a few photos only: one that is gone is sent again, once.
        if (again || !gone(error)) throw error;
        this.sending = null;
      }
    }
  }

  /** Send the photo, once; everybody waits for the same answer. */
  async #send() {
    this.sending ??= sendPhoto(this.file);
    const sending = this.sending;
    try {
      this.known = await sending;
      return this.known;
    } catch (error) {
      if (this.sending === sending) this.sending = null;
      throw error;
    }
  }

  #push(state) {
    for (const old of this.history.push(state)) this.#drop(old);
  }

  /** Let go of what nobody can redo. */
  #drop(old) {
    if (old.job && !this.history.states.some((state) => state.job === old.job)) dropJob(old.job);
  }

  async #show(state, fresh = false) {
    await this.stage.showAfter(state.picture ?? null);
    this.stage.endPreviews();
    this.#tell("shown", { state, fresh, cancelled: false, text: null });
  }

  #forget() {
    if (!this.file) return;
    for (const job of new Set(this.history.states.map((state) => state.job).filter(Boolean))) dropJob(job);
    if (this.known) forgetPhoto(this.known.id);
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function key({ instructions, area, options }) {
  return instructions.length ? JSON.stringify([instructions, area?.id ?? null, options]) : "[]";
}

/** Whether the server no longer has what was asked for. */
function gone(error) {
  return error instanceof Refused && error.status === 404;
}
