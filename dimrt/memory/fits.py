"""Whether an edit fits on a device, and in what setting."""

from collections.abc import Collection
from dataclasses import replace

from dimrt.backends.base import ROLES, Device, Flavour, Processor, Residency
from dimrt.bundle import Bundle
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.language import PREFILL_ROWS
from dimrt.memory.advice import TILES, tile_sides, ways_to_fit
from dimrt.memory.count import Estimate, count_bytes
from dimrt.memory.setting import PLAN_TOKENS, Setting
from dimrt.request import Request


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
    setting = as_built_for(device, Setting(size, plan_tokens, guided, residency=residency or device.residency))
    found = count_bytes(bundle, setting, device.flavour, device.memory_bytes)
    if residency is None and _goes_phased(device, found):
        found = count_bytes(bundle, replace(setting, residency="phased"), device.flavour, found.available)
    found = tiled(bundle, found, device)
    return found if found.fits else replace(found, advice=ways_to_fit(bundle, found, device.flavour))


def check_fits(
    bundle: Bundle, flavour: Flavour, available: int | None, setting: Setting, *, device: str = "this machine"
) -> None:
    """Refuse an edit that can't fit, before anything is loaded. Without recorded activations weights alone count.

    Raises:
        ResourceError: with the numbers, and a setting that would fit where there is one.
    """
    found = count_bytes(bundle, setting, flavour, available)
    if found.fits or available is None:
        return
    advice = "; ".join(ways_to_fit(bundle, found, flavour)) or "use a machine with more memory"
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
    found = count_bytes(bundle, as_built_for(device, asked), device.flavour, device.memory_bytes)
    if _goes_phased(device, found):
        found = count_bytes(bundle, replace(found.setting, residency="phased"), device.flavour, found.available)
    setting = tiled(bundle, found, device).setting
    check_fits(bundle, device.flavour, found.available, setting, device=device.name)
    return setting


def tiled(bundle: Bundle, found: Estimate, device: Device) -> Estimate:
    """What doesn't fit whole with the autoencoder in the largest tiles that do fit; as it was where none does, and
    where tiles were asked for.
    """
    if found.fits or found.setting.tile is not None:
        return found
    bounds = device.shapes.get("decode", {})
    least = max((bounds[axis][0] for axis in ("height", "width") if axis in bounds), default=0)
    for tile in tile_sides(bundle.manifest, found.setting.size, TILES, least):
        smaller = count_bytes(bundle, replace(found.setting, tile=tile), device.flavour, found.available)
        if smaller.fits:
            return smaller
    return found


def _goes_phased(device: Device, found: Estimate) -> bool:
    """Whether one role after the other is loaded though nobody said so: ONNX Runtime does where both don't fit.

    A target's engines are another matter: what its residency says was measured there.
    """
    return device.flavour == "onnxruntime" and found.setting.residency == "all" and not found.fits


def as_built_for(device: Device, setting: Setting) -> Setting:
    """A setting with the shapes that engines are built for; ONNX Runtime takes any."""
    if device.flavour == "onnxruntime":
        return setting
    tokens = device.shapes.get("language", {}).get("tokens", (1, 1, PREFILL_ROWS))[2]
    return replace(setting, length=device.pinned.get("length"), piece=tokens)
