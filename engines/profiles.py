"""Optimization profiles: how far each named dimension of a graph may go in an engine.

A profile is the target's bounds, cut down to what the bundle's model can use. Dimensions that follow from others
(patches are windows times slots) are computed here.
"""

from collections.abc import Mapping
from math import ceil

from dimrt.engines.target import PINNABLE, Range, Target
from dimrt.errors import BundleError
from dimrt.language import CACHE_STEP
from dimrt.manifest import Manifest, TensorSpec
from dimrt.vision import condition_size

DEFAULT_LENGTH = 4096
DEFAULT_TOKENS = 512
DEFAULT_ROWS = 8
"""Most rows of a `language` run that logits are asked of, when the target says nothing."""
GUIDANCE_ROWS = 2

Profile = dict[str, Range]
"""Every named dimension of a graph's inputs to (least, usual, most)."""


def graph_profile(manifest: Manifest, graph: str, target: Target) -> Profile:
    """Bounds of every named dimension of a graph's inputs; pinned ones have three equal numbers.

    Raises:
        BundleError: the graph has a dimension that this dimrt doesn't know.
    """
    limits = _model_limits(manifest, graph, target)
    names = {name: spec for spec in manifest.graphs[graph].inputs for name in spec.shape if isinstance(name, str)}
    unknown = sorted(names.keys() - limits.keys())
    if unknown:
        raise BundleError(
            f"graph `{graph}` has a dimension {unknown[0]!r} in input `{names[unknown[0]].name}`; known: "
            f"{', '.join(sorted(limits)) or 'none'}. Export the bundle with this dimrt"
        )
    return {name: limits[name] for name in sorted(names)}


def engine_profiles(profile: Profile, graph: str, flavour: str) -> tuple[Profile, ...]:
    """The profiles of one engine, the most used first.

    TensorRT picks kernels for the usual size, so that decoding (one token) and reading get a profile each. TensorRT
    for RTX picks them at run time, and would hold the weights once for each profile: it gets one.
    """
    if graph != "language" or flavour != "tensorrt" or profile["tokens"][2] == 1:
        return (profile,)
    return {**profile, "tokens": (1, 1, 1), "rows": (1, 1, 1)}, profile


def tensor_shapes(spec: TensorSpec, profile: Profile) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Least, usual and largest shape of an input."""
    least, usual, most = (
        tuple(profile[size][i] if isinstance(size, str) else size for size in spec.shape) for i in range(3)
    )
    return least, usual, most


def pinned(profile: Profile) -> dict[str, int]:
    """The dimensions that become numbers in the network before it is parsed."""
    return {name: profile[name][0] for name in PINNABLE if name in profile}


def _model_limits(manifest: Manifest, graph: str, target: Target) -> Profile:
    """Every dimension that the graph may have, bounded by target and model."""
    bounds = target.shapes.get(graph, {})
    if graph == "vision":
        return _vision(manifest, bounds)
    length = _length(manifest, target)
    if graph == "language":
        tokens = _within(bounds.get("tokens"), (1, DEFAULT_TOKENS, DEFAULT_TOKENS), length)
        rows = _within(bounds.get("rows"), (1, 1, DEFAULT_ROWS), tokens[2])
        return {"tokens": tokens, "rows": rows, "length": (length, length, length)}
    most = min(manifest.painter.max_condition, length)
    rows = _within(bounds.get("rows"), (1, most, most), most)
    batch = _within(bounds.get("batch"), (1, GUIDANCE_ROWS, GUIDANCE_ROWS), GUIDANCE_ROWS)
    if graph == "connector":
        return {"rows": rows}
    if graph == "context":
        return {"batch": batch, "rows": rows}
    sides = _sides(manifest, graph, bounds)
    return {**sides, "batch": batch, "rows": rows} if graph == "step" else sides


def _length(manifest: Manifest, target: Target) -> int:
    """Rows of the key/value cache: the target's, or what the model has positions for when that is less."""
    positions = ceil(manifest.designer.language.max_positions / CACHE_STEP) * CACHE_STEP
    return int(min(target.pinned.get("length", DEFAULT_LENGTH), positions))


def _vision(manifest: Manifest, bounds: Mapping[str, Range]) -> Profile:
    """Windows, and what follows from them: patches (slots times windows) and merged tokens."""
    facts = manifest.designer.vision
    slots = (facts.window_size // facts.patch_size) ** 2
    merged = slots // facts.merge_size**2
    width, height = condition_size(facts)
    usual = ceil(width / facts.window_size) * ceil(height / facts.window_size)
    # A long picture fills its windows badly: at worst they are half empty.
    most = max(2 * ceil(facts.max_pixels / facts.window_size**2), usual)
    windows = _within(bounds.get("windows"), (1, usual, most), most)
    windows = windows[0], min(windows[1], max(usual, windows[0])), windows[2]
    patches = windows[0] * slots, windows[1] * slots, windows[2] * slots
    return {"windows": windows, "patches": patches, "tokens": (1, windows[1] * merged, windows[2] * merged)}


def _sides(manifest: Manifest, graph: str, bounds: Mapping[str, Range]) -> Profile:
    """Height and width, in pixels for `encode`, in the latent's for `step` and `decode`."""
    resolution = manifest.resolution
    unit = 1 if graph == "encode" else resolution.latent_factor
    side, longest = resolution.side // unit, resolution.side**2 // resolution.multiple // unit
    default = max(side // 2, 1), side, side * 2
    found: Profile = {}
    for axis in ("height", "width"):
        least, usual, most = _within(bounds.get(axis), default, longest)
        usual = min(usual, side)
        found[axis] = min(least, usual), usual, most
    return found


def _within(given: Range | None, default: Range, most: int) -> Range:
    """The given bounds (or the default), none over `most`."""
    least, usual, largest = (min(size, most) for size in given or default)
    return least, usual, largest
