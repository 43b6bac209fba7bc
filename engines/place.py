"""Where engines for a target are built: ahead of time on any host, or on the device alone."""

from collections.abc import Sequence

from dimrt.engines.device import buildable, detect
from dimrt.engines.flavour import Flavour, installed_flavours, load_flavour
from dimrt.engines.record import Device
from dimrt.engines.target import Target
from dimrt.errors import InputError, ResourceError


def building_place(targets: Sequence[Target]) -> tuple[Flavour, tuple[str, ...], Device | None]:
    """What builds for these targets, for which compute capabilities, and the GPU it must happen on (None: any host).

    Raises:
        InputError: a target needs no engines, or several can't share one.
        ResourceError: the flavour isn't installed, or the engines must be built on the device and this isn't it.
    """
    first = targets[0]
    if first.flavour == "onnxruntime":
        raise InputError(f"target `{first.name}` needs no engines: ONNX Runtime runs the bundle as it is")
    odd = next((target for target in targets if target.flavour != first.flavour), None)
    if odd is not None:
        raise InputError(
            f"targets `{first.name}` ({first.flavour}) and `{odd.name}` ({odd.flavour}) can't share engines; "
            "build them one after the other"
        )
    flavour = _flavour_of(first)
    capabilities = tuple(sorted({target.compute_capability or "" for target in targets}, key=_number))
    if not flavour.ahead:
        return flavour, capabilities, _device_of(targets, flavour)
    for target in targets:
        if target.compute_capability not in flavour.capabilities:
            raise ResourceError(
                f"target `{target.name}` has compute capability {target.compute_capability}; {flavour.name} "
                f"{flavour.version} builds for {', '.join(flavour.capabilities)}, "
                f"that is {', '.join(buildable(flavour))}"
            )
    return flavour, capabilities, None


def _flavour_of(target: Target) -> Flavour:
    """The target's flavour; where it isn't installed, the message says what can be built here."""
    try:
        return load_flavour(target.flavour)
    except ResourceError as error:
        raise ResourceError(f"target `{target.name}` is built by {target.flavour}: {error}; {_elsewhere()}") from None


def _elsewhere() -> str:
    """What this host can build for any other."""
    ahead = [name for flavour in installed_flavours() for name in buildable(flavour)]
    return f"targets that can be built here ahead of time: {', '.join(ahead) or 'none'}"


def _device_of(targets: Sequence[Target], flavour: Flavour) -> Device:
    """The GPU of this machine, which must be the target's."""
    first = targets[0]
    if len(targets) > 1:
        raise InputError(f"{flavour.name} builds for the GPU it runs on: give one --target")
    try:
        device = detect()
    except ResourceError as error:
        raise ResourceError(
            f"target `{first.name}` is built on the device itself, where {flavour.name} times its kernels, and this "
            f"machine isn't one: {error}; {_elsewhere()}"
        ) from None
    if device.capability != first.compute_capability:
        raise ResourceError(
            f"target `{first.name}` has compute capability {first.compute_capability} and this GPU ({device.name}) "
            f"{device.capability}; build it on the device itself, or leave --target out to build for this GPU; "
            f"{_elsewhere()}"
        )
    return device


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
