"""What a backend offers the chain: engines that map named tensors to named tensors.

A `Tensor` is a numpy array on the host or a backend's own handle on its device; an engine takes both. Outputs come
back as numpy arrays unless the caller keeps them on the device or hands in a tensor to be written.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from numpy.typing import DTypeLike, NDArray

from dimrt.host import available_memory
from dimrt.interop import CudaArray

Array = NDArray[Any]
Tensor = Any
"""A numpy array, or a device handle made by the same backend."""
Part = tuple[Tensor, slice]
"""Some rows of a tensor. A row is its last axis; all axes before count as one."""
Flavour = Literal["tensorrt", "tensorrt-rtx", "onnxruntime"]
Residency = Literal["all", "phased"]
Role = Literal["designer", "painter"]
ROLES: dict[Role, tuple[str, ...]] = {
    "designer": ("vision", "language", "connector"),
    "painter": ("encode", "context", "step", "decode"),
}
"""Which graphs serve whom."""


class Device(Protocol):
    """What bounds memory and shapes; a target (`dimrt.engines.target.Target`), or this machine's processor."""

    @property
    def name(self) -> str: ...

    @property
    def memory_bytes(self) -> int | None:
        """All that a process can have there; with ONNX Runtime what is left now, None where the system doesn't say."""

    @property
    def flavour(self) -> Flavour: ...

    @property
    def residency(self) -> Residency: ...

    @property
    def shapes(self) -> Mapping[str, Mapping[str, tuple[int, int, int]]]: ...

    @property
    def pinned(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Processor:
    """This machine's processor, with ONNX Runtime."""

    name: str = "this machine"
    flavour: Flavour = "onnxruntime"
    residency: Residency = "all"
    shapes: Mapping[str, Mapping[str, tuple[int, int, int]]] = field(default_factory=dict)
    pinned: Mapping[str, int] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int | None:
        """What is left now."""
        return available_memory()


class BoundEngine(Protocol):
    """One graph, some of whose tensors are the same in every run."""

    def run(self, feeds: Mapping[str, Tensor], *, keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Run once, with the inputs that aren't bound; see `Engine.run`."""


class Engine(Protocol):
    """One graph, loaded."""

    def run(
        self,
        feeds: Mapping[str, Tensor],
        *,
        into: Mapping[str, Tensor] | None = None,
        keep: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Run once.

        Args:
            feeds: every input by name; numpy arrays are cast to the contract's dtype.
            into: outputs to be written in place into the given tensors (which may also be inputs: the KV cache).
            keep: outputs to be returned as device handles and not copied to the host.

        Returns:
            Every output not named in `into`.
        """

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> BoundEngine:
        """The graph for runs that all have these inputs, on the device, and write these outputs in place; it holds on
        to both.
        """

    def limit(self, axis: str) -> int | None:
        """The longest a named dimension may be in one run; None when nothing bounds it."""

    def pinned(self, axis: str) -> int | None:
        """The one length that a named dimension of the contract has in this engine; None when it varies."""


@dataclass(frozen=True)
class Merged:
    """A `BoundEngine` for engines that gain nothing from knowing tensors before a run."""

    engine: Engine
    feeds: Mapping[str, Tensor]
    into: Mapping[str, Tensor]

    def run(self, feeds: Mapping[str, Tensor], *, keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Run once."""
        return self.engine.run({**feeds, **self.feeds}, into=self.into, keep=keep)


class Backend(Protocol):
    """Loads the graphs of one bundle on one device."""

    residency: Residency
    """Whether both roles' engines stay loaded, or one role's at a time because memory is short."""
    steady_rows: bool
    """Whether a row of `language` comes out the same to the bit, whichever rows are run with it, when an even number
    of rows is run."""
    overlaps: bool
    """Whether the painter's graphs run beside the designer's: a run of which everything is kept on the device is queued
    and not waited for."""

    @property
    def target(self) -> Device | None:
        """What bounds memory and shapes here; None where nobody says."""

    @property
    def name(self) -> str:
        """What really runs, e.g. "onnxruntime CPUExecutionProvider"."""

    def missing(self) -> tuple[str, ...]:
        """Graphs that must be built for this device before they can be loaded."""

    def build(self, graphs: Sequence[str]) -> Iterator[str]:
        """Build them one by one, naming each as it is finished."""

    def engine(self, graph: str) -> Engine:
        """Load a graph (once; later calls return the same engine)."""

    def loaded(self, graph: str) -> bool:
        """Whether a graph is loaded."""

    def to_device(self, array: Array) -> Tensor:
        """A device tensor with the array's values; it may share the array's memory."""

    def to_host(self, tensor: Tensor) -> Array:
        """A numpy view or copy of a tensor, once everything that writes it is done."""

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Tensor:
        """A device tensor of zeros."""

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of a host or device tensor."""

    def join(self, parts: Sequence[Part], shape: tuple[int, ...], dtype: DTypeLike) -> Tensor:
        """Rows of several tensors, one under the other, as one tensor of `shape`; it may share a part's memory."""

    def hand_over(self, tensor: Tensor) -> CudaArray:
        """A device tensor as an array on the GPU for the caller, who owns it from now on.

        Raises:
            InputError: the backend runs on no GPU.
        """

    def finish(self) -> None:
        """Wait until everything asked of the device so far is done."""

    def release(self, graph: str) -> None:
        """Drop an engine and its memory; the next `engine` call loads it again."""

    def close(self) -> None:
        """Drop everything. What is used again is loaded again; tensors made before are no longer valid."""
