// Small texts that are put together from numbers.

const REACHED = {
  tone: () => "one change of colours, as sharp as the photo",
  local: (result) => `changed in places${drawn(result)}, the rest is the photo's own pixels`,
  painted: (result) => `painted anew${drawn(result)}`,
};

const UNCHANGED = "The painter changed nothing that can be seen: the photo stays as it was. Try other words.";

export const EXAMPLES = [
  "make it warmer",
  "like an old sepia photo",
  "turn day into night",
  "black and white",
  "more vivid",
];

/** "6000 × 4000 · 16 bits" */
export function size({ width, height, depth }) {
  return `${width} × ${height}${depth === 16 ? " · 16 bits" : ""}`;
}

/** What is known of a finished edit, in one line. */
export function facts(result) {
  const { seconds, seed, steps, composite } = result;
  if (composite === "unchanged") return UNCHANGED;
  const plan = (seconds.vision ?? 0) + (seconds.plan ?? 0) + (seconds.condition ?? 0);
  const paint = (seconds.encode ?? 0) + (seconds.paint ?? 0) + (seconds.decode ?? 0);
  return [
    `plan ${duration(plan)}`,
    `painting ${duration(paint)}, ${steps} ${steps === 1 ? "step" : "steps"}`,
    `seed ${seed}`,
    REACHED[composite]?.(result) ?? composite,
  ].join(" · ");
}

/** What is newly drawn may be coarser than the photo; this says so. */
function drawn({ painted_scale: scale }) {
  return scale < 0.95 ? ` at ${Math.max(1, Math.round(scale * 100))} % of the photo's resolution` : "";
}

function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
