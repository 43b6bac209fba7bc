"""What a building process is told and what it answers: one JSON document in, JSON lines out."""

from dimrt.engines.profiles import Profile
from dimrt.manifest import Frozen, TensorSpec


class Job(Frozen, frozen=True, tag="job"):
    """Build one graph.

    Attributes:
        flavour: what builds.
        onnx: path of the graph; its weights lie beside it.
        plan: path to write.
        inputs, outputs: the contract with pinned dimensions as numbers.
        pinned: named dimensions that become numbers.
        profiles: bounds of the named dimensions; the first is the most used.
        capabilities: compute capabilities to build for ahead of time; empty: for the GPU of this machine.
        workspace_bytes: most memory a layer's scratch space may take on the device.
        timing: path of a timing cache to start from, if any, and to write to; None keeps none.
    """

    flavour: str
    onnx: str
    plan: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    pinned: dict[str, int]
    profiles: tuple[Profile, ...]
    capabilities: tuple[str, ...]
    workspace_bytes: int
    timing: str | None


class Step(Frozen, frozen=True, tag="step"):
    """`done` of `total` steps of a phase of the builder are finished."""

    phase: str
    done: int
    total: int


class Built(Frozen, frozen=True, tag="built"):
    """The plan is written. `peak_rss` in bytes, 0 where the system doesn't say."""

    sha256: str
    plan_bytes: int
    peak_rss: int
    profiles: tuple[Profile, ...]
    decomposed: bool


class Refused(Frozen, frozen=True, tag="refused"):
    """The library said no. `kind` is the error class that says it best."""

    kind: str
    message: str


Answer = Step | Built | Refused
