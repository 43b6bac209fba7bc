"""How much memory an edit takes, before anything is loaded: from the manifest and the sizes of files alone.

Of each graph: its weights (the external data file), its activations (the largest of the manifest's polynomials at the
asked shapes), its inputs and outputs, and for `language` the key/value cache. Within a role engines share one scratch
area, so the largest activations count; designer and painter together, or one after the other ("phased"). The
autoencoder takes a picture whole, or in tiles (`dimrt.tiles`): then its activations are those of one tile.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from dimrt.backends.base import ROLES, Device, Flavour, Processor, Residency, Role
from dimrt.bundle import Bundle
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.language import CACHE_STEP, PREFILL_ROWS
from dimrt.manifest import Manifest, TensorSpec
from dimrt.request import Request
from dimrt.tiles import LEAST, side_of
from dimrt.vision import condition_size, window_order

ITEM_BYTES = {"float32": 4, "float16": 2, "int64": 8}
TEXT_TOKENS = 256
"""Of system turn, request and instruction: the published request has about 190."""
PLAN_TOKENS = 512
"""Of a plan, unless said otherwise: the published examples have 200 to 400."""
OVERHEAD = {"onnxruntime": 150_000_000, "tensorrt": 400_000_000, "tensorrt-rtx": 400_000_000}
"""Bytes beside the graphs: Python with ONNX Runtime (seen: 0.1 to 0.15 GB resident); a CUDA context with the builder's
kernels, which NVIDIA doesn't state (commonly 0.3 to 0.5 GB; not measured here)."""
WIDENED = 2
"""ONNX Runtime has no half precision on the CPU: it computes, and keeps weights, in float32; of half inputs and outputs
it holds a copy in float32."""
CONVOLVED = 3
"""ONNX Runtime's convolutions copy what they read into blocks, and its arena grows in doubles: `encode` and `decode`
take 2.6 to 2.9 times what their tensors do (benchmarks/tiles.py)."""
TILES = (2, 3, 4)
"""Numbers of tiles along a side that are tried where the whole picture doesn't fit."""
CACHE = ("key_", "value_")
"""How the names of cache tensors begin; each is input and output in one place."""
SMALLER = {
    "int8": {"vision": 0.52, "language": 0.52, "context": 0.52, "step": 0.52},
    "int4": {"language": 0.29, "context": 0.52, "step": 0.52},
}
"""Weights of a recipe as a share of float16's, for the graphs that it makes smaller."""


@dataclass(frozen=True)
class Use:
    """Bytes of one graph. `tensors` are its inputs and outputs, `cache` the keys and values of `language`."""

    role: Role
    graph: str
    weights: int
    activations: int
    tensors: int
    cache: int = 0


@dataclass(frozen=True)
class Setting:
    """What is asked for: the painter's picture (width, height), tokens of the plan, whether guidance is on, the rows of
    the cache (None: as many as the turn needs), tokens read in one run, which roles are loaded together, which graphs
    are loaded at all (None: all that the bundle has), and the side of the autoencoder's tiles (None: none).
    """

    size: tuple[int, int]
    plan_tokens: int = PLAN_TOKENS
    guided: bool = True
    length: int | None = None
    piece: int = PREFILL_ROWS
    residency: Residency = "all"
    graphs: tuple[str, ...] | None = None
    tile: int | None = None


@dataclass(frozen=True)
class Estimate:
    """Bytes of every graph and of the whole chain against what is available; `advice` says what would fit."""

    setting: Setting
    uses: tuple[Use, ...]
    overhead: int
    available: int | None
    advice: tuple[str, ...] = ()

    def of_role(self, role: Role) -> int:
        """Peak while a role works alone, without the overhead."""
        mine = [use for use in self.uses if use.role == role]
        return sum(u.weights + u.cache for u in mine) + max((u.activations + u.tensors for u in mine), default=0)

    @property
    def peak(self) -> int:
        """The most that is held at once."""
        if self.setting.residency == "phased":
            return self.overhead + max(self.of_role("designer"), self.of_role("painter"))
        held = sum(use.weights + use.cache for use in self.uses)
        return self.overhead + held + max((use.activations + use.tensors for use in self.uses), default=0)

    @property
    def fits(self) -> bool:
        """Whether the peak is within what is available (unknown: yes)."""
        return self.available is None or self.peak <= self.available


def estimate(
    bundle: Bundle,
    target: Device | None = None,
    *,
    size: tuple[int, int] | None = None,
    plan_tokens: int = PLAN_TOKENS,
    guided: bool = True,
    residency: Residency | None = None,
) -> Estimate:
    """What an edit takes on a target, or (None) on this machine's processor with ONNX Runtime.

    Args:
        bundle: its files must be there; nothing of them is read.
        target: from `dimrt.engines.target.load_target`.
        size: the painter's picture in pixels (width, height); default the bundle's square.
        plan_tokens: length of the plan.
        guided: whether two rows are painted.
        residency: "all" or "phased"; default the target's, with ONNX Runtime "phased" where "all" doesn't fit.

    Raises:
        BundleError: the bundle was exported before activations were recorded.
        InputError: `size` isn't a multiple of what the painter takes.
    """
    manifest = bundle.manifest
    if any(not graph.activations for graph in manifest.graphs.values()):
        raise BundleError(
            f"{bundle.path} was exported before activation sizes were recorded; export it again with this dimrt"
        )
    side, multiple = manifest.resolution.side, manifest.resolution.multiple
    size = size or (side, side)
    if any(n < multiple or n % multiple for n in size):
        raise InputError(f"--size {size[0]}x{size[1]}: both sides must be multiples of {multiple}")
    device = target or Processor()
    setting = _on(device, Setting(size, plan_tokens, guided, residency=residency or device.residency))
    found = _at(bundle, setting, device.flavour, device.memory_bytes)
    if residency is None and _goes_phased(device, found):
        found = _at(bundle, replace(setting, residency="phased"), device.flavour, found.available)
    found = _tiled(bundle, found, device)
    return found if found.fits else replace(found, advice=_advice(bundle, found, device.flavour))


def check_fits(
    bundle: Bundle, flavour: Flavour, available: int | None, setting: Setting, *, device: str = "this machine"
) -> None:
    """Refuse an edit that can't fit, before anything is loaded. Without recorded activations weights alone count.

    Raises:
        ResourceError: with the numbers, and a setting that would fit where there is one.
    """
    found = _at(bundle, setting, flavour, available)
    if found.fits or available is None:
        return
    advice = "; ".join(_advice(bundle, found, flavour)) or "use a machine with more memory"
    whole = len({use.role for use in found.uses}) == len(ROLES)
    what = "this edit" if whole else f"this step ({', '.join(use.graph for use in found.uses)})"
    raise ResourceError(
        f"{what} takes about {found.peak / 1e9:.1f} GB and {device} has {available / 1e9:.1f} GB free; {advice}"
    )


def check_request(
    bundle: Bundle,
    request: Request,
    device: Device,
    residency: Residency,
    graphs: Collection[str],
    loaded: Collection[str] = (),
) -> Setting:
    """`check_fits` for what a request is about to run on a device.

    Args:
        residency: the backend's.
        graphs: which are run.
        loaded: which are there already. Of a target's memory they are a part; what the system has left, which is what
            bounds ONNX Runtime, is already without them.

    Returns:
        What to run with. Its residency is the backend's, or "phased" where ONNX Runtime has no room for both roles at
        once; its tile is the request's, or the largest that fits where the picture doesn't fit whole.

    Raises:
        ResourceError: as `check_fits`.
    """
    held = set(graphs) - set(loaded) if device.flavour == "onnxruntime" else {*graphs, *loaded}
    side = bundle.manifest.resolution.side
    tokens = min(PLAN_TOKENS, request.max_new_tokens)
    guided = request.guidance_scale != 1.0
    asked = Setting((side, side), tokens, guided, residency=residency, graphs=tuple(held), tile=request.tile)
    found = _at(bundle, _on(device, asked), device.flavour, device.memory_bytes)
    if _goes_phased(device, found):
        found = _at(bundle, replace(found.setting, residency="phased"), device.flavour, found.available)
    setting = _tiled(bundle, found, device).setting
    check_fits(bundle, device.flavour, found.available, setting, device=device.name)
    return setting


def _tiled(bundle: Bundle, found: Estimate, device: Device) -> Estimate:
    """What doesn't fit whole with the autoencoder in the largest tiles that do fit; as it was where none does, and
    where tiles were asked for.
    """
    if found.fits or found.setting.tile is not None:
        return found
    bounds = device.shapes.get("decode", {})
    least = max((bounds[axis][0] for axis in ("height", "width") if axis in bounds), default=0)
    for tile in _tiles(bundle.manifest, found.setting.size, TILES, least):
        smaller = _at(bundle, replace(found.setting, tile=tile), device.flavour, found.available)
        if smaller.fits:
            return smaller
    return found


def _tiles(manifest: Manifest, size: tuple[int, int], counts: Sequence[int], least: int = 0) -> list[int]:
    """Sides in pixels of tiles for pictures of a size; none where the autoencoder knows one size.

    Args:
        counts: of tiles along the picture's longer side.
        least: cells that an engine takes at least.
    """
    factor = manifest.resolution.latent_factor
    if any(isinstance(side, int) for side in manifest.graphs["decode"].inputs[0].shape[2:]):
        return []
    sides = [side_of(max(size) // factor, count) for count in counts]
    return [side * factor for side in sides if side >= max(least, LEAST)]


def _goes_phased(device: Device, found: Estimate) -> bool:
    """Whether one role after the other is loaded though nobody said so: ONNX Runtime does where both don't fit.

    A target's engines are another matter: what its residency says was measured there.
    """
    return device.flavour == "onnxruntime" and found.setting.residency == "all" and not found.fits


def _on(device: Device, setting: Setting) -> Setting:
    """A setting with the shapes that engines are built for; ONNX Runtime takes any."""
    if device.flavour == "onnxruntime":
        return setting
    tokens = device.shapes.get("language", {}).get("tokens", (1, 1, PREFILL_ROWS))[2]
    return replace(setting, length=device.pinned.get("length"), piece=tokens)


def axes(manifest: Manifest, setting: Setting) -> dict[str, dict[str, int]]:
    """Every named dimension of every graph in a setting."""
    vision = manifest.designer.vision
    tokens = windows = 0
    if manifest.painter.task == "edit":
        width, height = condition_size(vision)
        source, order = window_order((height // vision.patch_size, width // vision.patch_size), vision)
        tokens, windows = len(order), len(source) // (vision.window_size // vision.patch_size) ** 2
    text = min(tokens + TEXT_TOKENS + setting.plan_tokens, manifest.designer.language.max_positions)
    rows = min(text, manifest.painter.max_condition)
    factor = manifest.resolution.latent_factor
    batch = 2 if setting.guided else 1
    pixels = {"width": setting.size[0], "height": setting.size[1]}
    latent = {name: side // factor for name, side in pixels.items()}
    tile = {name: min(side, setting.tile or side) for name, side in pixels.items()}
    patches = windows * (vision.window_size // vision.patch_size) ** 2
    return {
        "vision": {"windows": max(windows, 1), "patches": patches, "tokens": tokens},
        "language": {
            "tokens": min(setting.piece, text),
            "rows": 1,
            "length": setting.length or ceil(text / CACHE_STEP) * CACHE_STEP,
        },
        "connector": {"rows": rows},
        "context": {"batch": batch, "rows": rows},
        "step": {"batch": batch, "rows": rows, **latent},
        "encode": tile,
        "decode": {name: side // factor for name, side in tile.items()},
    }


def _at(bundle: Bundle, setting: Setting, flavour: Flavour, available: int | None) -> Estimate:
    manifest = bundle.manifest
    sizes, whole = axes(manifest, setting), axes(manifest, replace(setting, tile=None))
    wider = WIDENED if flavour == "onnxruntime" and _is_half(manifest) else 1
    uses = []
    for role, names in ROLES.items():
        for name in (n for n in names if n in manifest.graphs and (setting.graphs is None or n in setting.graphs)):
            graph = manifest.graphs[name]
            at = sizes[name]
            file = manifest.files.get(graph.file + ".data")
            specs = (*graph.inputs, *graph.outputs)
            ports = [s for s in specs if not s.name.startswith(CACHE)]
            copies = sum(tensor_bytes(spec, at) for spec in ports if spec.dtype == "float16") * WIDENED
            copied = CONVOLVED if flavour == "onnxruntime" and name in ("encode", "decode") else 1
            joined = sum(tensor_bytes(spec, whole[name]) for spec in ports) if at != whole[name] else 0
            caches = sum(tensor_bytes(s, at) for s in graph.inputs if s.name.startswith(CACHE))
            uses.append(
                Use(
                    role,
                    name,
                    weights=wider * (file.size if file is not None else 0),
                    activations=int(wider * copied * max((evaluate(p, at) for p in graph.activations), default=0)),
                    tensors=sum(tensor_bytes(spec, at) for spec in ports) + (copies if wider > 1 else 0) + joined,
                    cache=caches,
                )
            )
    return Estimate(setting, tuple(uses), OVERHEAD[flavour], available)


def _is_half(manifest: Manifest) -> bool:
    """Whether products are computed in half precision."""
    return any(spec.dtype == "float16" for spec in manifest.graphs["language"].inputs)


def evaluate(polynomial: Mapping[str, float], at: Mapping[str, int]) -> float:
    """A polynomial of the manifest ("height*width" -> factor) where the axes have these sizes."""
    return sum(f * prod(at[name] for name in names.split("*") if name) for names, f in polynomial.items())


def tensor_bytes(spec: TensorSpec, at: Mapping[str, int]) -> int:
    """Bytes of an input or output; a dimension may be a multiple or a part of an axis ("height*32", "height/8")."""
    count = 1
    for side in spec.shape:
        if isinstance(side, int):
            count *= side
        elif "/" in side:
            name, divisor = side.split("/")
            count *= at[name] // int(divisor)
        else:
            name, _, factor = side.partition("*")
            count *= at[name] * int(factor or 1)
    return count * ITEM_BYTES[spec.dtype]


def _advice(bundle: Bundle, found: Estimate, flavour: Flavour) -> tuple[str, ...]:
    """Settings that would fit, the least loss first; one that costs more and saves no more is left out."""
    available, setting = found.available or 0, found.setting
    multiple, square = bundle.manifest.resolution.multiple, bundle.manifest.resolution.aspect == "square"
    options: list[tuple[str, Estimate]] = []
    phased = replace(setting, residency="phased")
    if setting.residency == "all":
        how = "--residency phased" if flavour == "onnxruntime" else 'residency = "phased" in the target'
        options.append((how, _at(bundle, phased, flavour, available)))
    for length in (2048, 1024):
        needed = axes(bundle.manifest, replace(setting, length=None))["language"]["length"]
        if setting.length is not None and needed <= length < setting.length:
            shorter = replace(phased, length=length)
            options.append((f"phased with a cache of {length} rows", _at(bundle, shorter, flavour, available)))
    for tile in _tiles(bundle.manifest, setting.size, TILES[:1]):
        tiled = replace(phased, tile=tile)
        options.append((f"phased with --tile {tile}", _at(bundle, tiled, flavour, available)))
    for share in () if square else (0.75, 0.5):
        width, height = (max(multiple, int(n * share) // multiple * multiple) for n in setting.size)
        smaller = replace(phased, size=(width, height))
        options.append((f"phased with a picture of {width}x{height}", _at(bundle, smaller, flavour, available)))
    if bundle.manifest.recipe == "fp16" and flavour != "onnxruntime":
        half = _at(bundle, phased, flavour, available)
        for recipe, shares in SMALLER.items():
            uses = tuple(replace(u, weights=int(u.weights * shares.get(u.graph, 1.0))) for u in half.uses)
            options.append((f"phased with a bundle exported by --{recipe}", replace(half, uses=uses)))
    least, advice = available + 1, []
    for name, other in options:
        if other.peak < least:
            least = other.peak
            advice.append(f"{name} takes {other.peak / 1e9:.1f} GB")
    return tuple(advice)
