// What the page asks of its server: the token, requests, and the stream of a job's events.

const KEY = "dimrt-token";
const OVER = new Set(["done", "failed", "cancelled"]);

/** The server said no. */
export class Refused extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Whether the server answers: "lost" and "back" are dispatched when that changes. */
export const connection = new EventTarget();
let lost = false;

/** Take the token from the address's fragment, once, or from this tab's storage; null where there is none. */
export function takeToken() {
  const found = /[#&]token=([^&\s]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY);
}

/** Keep what the reader pasted: the whole address, or the token alone. */
export function keepToken(text) {
  const found = /token=([^&\s]+)/.exec(text);
  sessionStorage.setItem(KEY, found ? decodeURIComponent(found[1]) : text.trim());
}

/**
 * Ask the server; where it can't be reached, wait until it can.
 * Throws Refused with the server's own words, or an AbortError.
 */
export async function ask(path, { method = "GET", json, form, headers = {}, signal } = {}) {
  const token = sessionStorage.getItem(KEY) ?? "";
  const request = { method, signal, cache: "no-store", headers: { ...headers, Authorization: `Bearer ${token}` } };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["Content-Type"] = "application/json";
  } else if (form) {
    request.body = form;
  }
  for (;;) {
    let response;
    try {
      response = await fetch(path, request);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      await untilBack(signal);
      continue;
    }
    setLost(false);
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** The same, for an answer in JSON. */
export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

/**
 * Events of a job from its first to its last, as { type, data }, across lost connections.
 * Ends after "done", "failed" or "cancelled".
 */
export async function* follow(path, signal) {
  let last = null;
  for (;;) {
    const headers = last === null ? {} : { "Last-Event-ID": last };
    const response = await ask(path, { headers, signal });
    try {
      for await (const event of parse(response.body)) {
        if (event.id !== undefined) last = event.id;
        yield { type: event.type, data: JSON.parse(event.data) };
        if (OVER.has(event.type)) return;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await untilBack(signal);
  }
}

/** Events of a text/event-stream body. */
async function* parse(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value.replaceAll("\r\n", "\n");
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = fields(block);
        if (event.data !== undefined) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function fields(block) {
  const event = { type: "message" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue; // a comment, sent to keep the connection open
    const value = line.slice(colon + 1).replace(/^ /, "");
    const name = line.slice(0, colon);
    if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (name === "event") event.type = value;
    else if (name === "id") event.id = value;
  }
  return event;
}

async function refusal(response) {
  const answer = await response.json().catch(() => null);
  const error = answer?.error;
  const words = error?.message ?? `The server answered ${response.status} ${response.statusText}.`;
  return new Refused(words, response.status, error?.code);
}

function setLost(value) {
  if (lost === value) return;
  lost = value;
  connection.dispatchEvent(new Event(lost ? "lost" : "back"));
}

/** Knock until the server answers, at growing intervals. */
async function untilBack(signal) {
  for (let pause = 250; ; pause = Math.min(pause * 2, 4000)) {
    signal?.throwIfAborted();
    const answered = await fetch("/health", { cache: "no-store", signal }).then((response) => response.ok, () => false);
    signal?.throwIfAborted();
    setLost(!answered);
    await wait(pause, signal);
    if (answered) return;
  }
}

/** So many milliseconds. */
export function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
