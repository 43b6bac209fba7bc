"""The GPU of this machine, and the target that fits it."""

from pathlib import Path

import msgspec

from dimrt.engines.flavour import Flavour, installed_flavours
from dimrt.engines.record import Device
from dimrt.engines.target import Target, load_target, target_names
from dimrt.errors import ResourceError

JETSON_MODEL = Path("/proc/device-tree/model")
"""Where a Jetson says which module it is; the driver says no more than "Orin"."""
NO_DRIVER = "no NVIDIA driver found"


def detect() -> Device:
    """The first GPU of this machine.

    Raises:
        ResourceError: cuda-bindings isn't installed, or there is no driver or no GPU.
    """
    try:
        from cuda.bindings import driver
    except ModuleNotFoundError:
        raise ResourceError(
            'cuda-bindings isn\'t installed. Install it: pip install "dimrt[rtx]" or "dimrt[tensorrt]"'
        ) from None

    def ask(answer: tuple[object, ...], question: str) -> int:
        """The value of a driver call's answer."""
        if answer[0] != driver.CUresult.CUDA_SUCCESS:
            raise ResourceError(f"the NVIDIA driver can't say {question} ({answer[0]}); check it with `dimrt doctor`")
        return int(answer[1])  # type: ignore[call-overload,no-any-return]

    try:
        (state,) = driver.cuInit(0)
    except RuntimeError:
        raise ResourceError(NO_DRIVER) from None
    if state != driver.CUresult.CUDA_SUCCESS:
        raise ResourceError(f"{NO_DRIVER} or no GPU ({state.name})")
    attribute = driver.CUdevice_attribute
    error, name = driver.cuDeviceGetName(128, 0)
    if error != driver.CUresult.CUDA_SUCCESS:
        raise ResourceError(f"{NO_DRIVER} or no GPU ({error.name})")
    major, minor = (
        ask(driver.cuDeviceGetAttribute(kind, 0), "what the GPU is")
        for kind in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return Device(
        name=jetson_model() or name.decode().strip("\0"),
        capability=f"{major}.{minor}",
        driver=str(ask(driver.cuDriverGetVersion(), "its version")),
        memory_bytes=ask(driver.cuDeviceTotalMem(0), "how much memory the GPU has"),
    )


def jetson_model() -> str | None:
    """What a Jetson calls itself; None on other machines."""
    try:
        model = JETSON_MODEL.read_bytes().decode(errors="replace").strip("\0 \n")
    except OSError:
        return None
    return model if "Jetson" in model else None


def target_for(device: Device) -> Target:
    """The shipped target that is nearest to a GPU, with the GPU's own name, capability and memory where they differ.

    Of the targets of its compute capability (or else of any) the largest that the GPU has the memory for, or else the
    smallest. A Jetson says of itself whether it is a "Super".

    Raises:
        ResourceError: no flavour is installed that builds for this GPU.
    """
    flavours = [flavour for flavour in installed_flavours() if _builds(flavour, device)]
    if not flavours:
        raise ResourceError(
            f"nothing installed builds engines for {device.name} (compute capability {device.capability}). "
            'Install a flavour: pip install "dimrt[rtx]" on an RTX card, "dimrt[tensorrt]" on others'
        )
    targets = [target for target in map(load_target, target_names()) if target.compute_capability is not None]
    same = [target for target in targets if target.compute_capability == device.capability] or targets
    fitting = [target for target in same if target.memory_bytes <= device.memory_bytes]
    is_super = "super" in device.name.lower()
    ranked = sorted(fitting, key=lambda target: (-target.memory_bytes, ("super" in target.name) != is_super))
    chosen = ranked[0] if ranked else min(same, key=lambda target: target.memory_bytes)
    names = {flavour.name for flavour in flavours}
    return msgspec.structs.replace(
        chosen,
        compute_capability=device.capability,
        memory_bytes=min(chosen.memory_bytes, device.memory_bytes),
        flavour=chosen.flavour if chosen.flavour in names else flavours[0].name,
    )


def buildable(flavour: Flavour) -> list[str]:
    """Names of the targets that a flavour builds for ahead of time, on a host without a GPU."""
    targets = (load_target(name) for name in target_names())
    return [
        target.name
        for target in targets
        if target.flavour == flavour.name and target.compute_capability in flavour.capabilities
    ]


def _builds(flavour: Flavour, device: Device) -> bool:
    return not flavour.ahead or device.capability in flavour.capabilities
