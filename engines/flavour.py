"""The two TensorRT flavours, which have the same Python API: TensorRT and TensorRT for RTX."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from dimrt.errors import ResourceError

FlavourName = Literal["tensorrt", "tensorrt-rtx"]
MODULES: dict[str, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
EXTRAS: dict[str, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}


@dataclass(frozen=True)
class Flavour:
    """An installed flavour.

    Attributes:
        name: as targets call it.
        version: of the library; engines of another version are never loaded.
        module: its Python API.
    """

    name: str
    version: str
    module: ModuleType

    @property
    def ahead(self) -> bool:
        """Whether engines are built for a kind of GPU, on any host. Else they are built on the GPU, for it alone."""
        return hasattr(self.module, "ComputeCapability")

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Compute capabilities, like "8.9", that can be built for ahead of time."""
        if not self.ahead:
            return ()
        names = self.module.ComputeCapability.__members__
        return tuple(f"{name[2:-1]}.{name[-1]}" for name in names if name.startswith("SM"))


def load_flavour(name: str) -> Flavour:
    """Import a flavour.

    Raises:
        ResourceError: it isn't installed, or its libraries can't be loaded.
    """
    try:
        module = import_module(MODULES[name])
    except ImportError as error:
        missing = "isn't installed" if isinstance(error, ModuleNotFoundError) else f"can't be loaded ({error})"
        raise ResourceError(
            f'{MODULES[name]} {missing}. Install it: pip install "dimrt[{EXTRAS[name]}]"'
            + (" (on a Jetson it comes with JetPack)" if name == "tensorrt" else "")
        ) from None
    return Flavour(name, module.__version__, module)


def installed_flavours() -> list[Flavour]:
    """Every flavour that can be imported."""
    found = []
    for name in MODULES:
        try:
            found.append(load_flavour(name))
        except ResourceError:
            continue
    return found
