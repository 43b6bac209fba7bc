// One job: submit it, follow it, fetch its picture.

import { ask, askJson, follow, wait } from "./api.js";

/** Longest side, in pixels, of the pictures that are shown. What is saved has the photo's size. */
export const SHOWN = 2400;

/** The same of pictures at 100 %: a browser holds four bytes a pixel of each. */
export const WHOLE = 8192;

/** Send a photo; returns what the server knows of it: { id, width, height, depth, notes }. */
export function sendPhoto(file, signal) {
  const form = new FormData();
  form.append("photo", file, file.name || "photo");
  return askJson("/v1/photos", { method: "POST", form, signal });
}

/** Forget a photo at the server; nothing depends on its answer. */
export function forgetPhoto(id) {
  ask(`/v1/photos/${id}`, { method: "DELETE" }).catch(() => {});
}

/** Forget a finished job, or cancel one. */
export function dropJob(id) {
  ask(`/v1/jobs/${id}`, { method: "DELETE" }).catch(() => {});
}

/**
 * Run a job to its end; returns { id, result }. An abort cancels it at the server.
 *
 * `wish` is { photo, base, instructions, area, options }; `base` is the job whose result is edited in place of the photo.
 * `on` is called with each event's type and data, and with "queued" and how many jobs are before it.
 */
export async function runJob(wish, on, signal) {
  const job = await submit(wish, signal);
  const over = new AbortController();
  const cancel = () => dropJob(job.id);
  signal.addEventListener("abort", cancel);
  try {
    signal.throwIfAborted();
    watchQueue(job, on, AbortSignal.any([signal, over.signal]));
    for await (const { type, data } of follow(`/v1/jobs/${job.id}/events`, signal)) {
      over.abort();
      if (type === "done") return { id: job.id, result: data };
      if (type === "failed") throw new Error(data.error?.message ?? "The edit failed.");
      if (type === "cancelled") throw new DOMException("cancelled", "AbortError");
      on(type, data);
    }
  } finally {
    over.abort();
    signal.removeEventListener("abort", cancel);
  }
}

/** A job's picture, to show or to save. */
export async function fetchResult(id, query, signal) {
  return (await ask(`/v1/jobs/${id}/image?${new URLSearchParams(query)}`, { signal })).blob();
}

/** The server's own rendering of the photo, its longer side `max` pixels at most. */
export async function fetchPhoto(id, max = SHOWN) {
  return (await ask(`/v1/photos/${id}/image?max=${max}`)).blob();
}

async function submit({ photo, base, instructions, area, options }, signal) {
  const body = { photo, instructions, previews: true, ...options };
  if (base) body.base = base;
  if (area?.box) body.region = area.box.join(",");
  if (!area?.mask) return askJson("/v1/jobs", { method: "POST", json: body, signal });
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) for (const one of [value].flat()) form.append(name, one);
  form.append("mask", area.mask, "mask.png");
  return askJson("/v1/jobs", { method: "POST", form, signal });
}

/** Say where the job is in the queue until it runs. */
async function watchQueue(job, on, signal) {
  let { state, position } = job;
  try {
    while (state === "queued") {
      if (position > 0) on("queued", { position });
      await wait(700, signal);
      ({ state, position } = await askJson(`/v1/jobs/${job.id}`, { signal }));
    }
  } catch {
    // The stream of events says what becomes of the job.
  }
}
