// How a list of edits is painted: edits of one and the same place are one job; another place is painted on top of that.

/** The edits that are painted last, and those below them. */
export function layers(edits) {
  let start = edits.length - 1;
  while (start > 0 && place(edits[start - 1]) === place(edits.at(-1))) start -= 1;
  return { below: edits.slice(0, start), top: edits.slice(start) };
}

/** The same for two lists of edits exactly when they come out the same. */
export function key({ edits, options }) {
  return edits.length ? JSON.stringify([edits.map((edit) => [edit.text, place(edit)]), options]) : "";
}

function place(edit) {
  return edit.area?.id ?? null;
}
