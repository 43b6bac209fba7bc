"""What is known of a built engine: the JSON beside its plan, and which devices it is for."""

import hashlib
from dataclasses import dataclass

import msgspec

from dimrt.engines.profiles import Profile
from dimrt.manifest import Frozen, TensorSpec

FORMAT = 1
KEY_LENGTH = 32
"""Hexadecimal digits of a key."""


@dataclass(frozen=True)
class Device:
    """A GPU of this machine.

    Attributes:
        name: as the driver calls it.
        capability: compute capability, like "8.9".
        driver: version of the driver.
        memory_bytes: all of its memory.
    """

    name: str
    capability: str
    driver: str
    memory_bytes: int


class Identity(Frozen, frozen=True):
    """What makes an engine another one.

    `device` and `driver` are set when the engine was built on a GPU for it alone; else it runs on every GPU of
    `capabilities`.
    """

    bundle: str
    graph: str
    flavour: str
    version: str
    capabilities: tuple[str, ...]
    device: str | None
    driver: str | None
    profiles: tuple[Profile, ...]

    @property
    def key(self) -> str:
        """Name of the engine's folder in the cache."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:KEY_LENGTH]

    def mismatch(self, version: str, device: Device) -> str | None:
        """Why the engine can't run with this version of its flavour on this GPU; None when it can."""
        if self.version != version:
            return f"built by {self.flavour} {self.version}, this is {version}"
        if device.capability not in self.capabilities:
            return f"built for compute capability {', '.join(self.capabilities)}, this GPU has {device.capability}"
        if self.device is not None and self.device != device.name:
            return f"built on {self.device}, this is {device.name}"
        if self.driver is not None and self.driver != device.driver:
            return f"built with driver {self.driver}, this is {device.driver}"
        return None


class Record(Frozen, frozen=True):
    """One engine.

    Attributes:
        identity: of the engine; its `key` names the folder.
        target: name of the target whose bounds it has.
        name, recipe: of the bundle.
        inputs, outputs: the network's; pinned dimensions are numbers.
        profiles: bounds of the named dimensions in each optimization profile, the most used first.
        plan_bytes, sha256: size and sum (hex) of the plan.
        weights_bytes: size of the graph's files in the bundle.
        build_seconds, peak_rss: wall-clock seconds, and the most memory (bytes) the building process had; 0 unknown.
        decomposed: whether attention had to be built from plain layers.
        cuda_graph: whether the runtime should capture runs of the same shape into a CUDA graph.
        created: UTC time, ISO 8601.
    """

    format: int
    identity: Identity
    target: str
    name: str
    recipe: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profiles: tuple[Profile, ...]
    plan_bytes: int
    sha256: str
    weights_bytes: int
    build_seconds: float
    peak_rss: int
    decomposed: bool
    cuda_graph: bool
    created: str

    @property
    def key(self) -> str:
        """Name of the engine's folder in the cache."""
        return self.identity.key

    def limit(self, axis: str) -> int | None:
        """The most a named dimension may be; None when the engine has no such dimension."""
        sizes = [profile[axis][2] for profile in self.profiles if axis in profile]
        return max(sizes, default=None)
