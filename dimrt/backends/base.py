"""What a backend offers the chain: engines that map named tensors to named tensors.

A `Tensor` is a numpy array on the host or a backend's own handle on its device; an engine takes both. Outputs come
back as numpy arrays unless the caller keeps them on the device or hands in a tensor to be written.
"""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Tensor = Any
"""A numpy array, or a device handle made by the same backend."""


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


class Backend(Protocol):
    """Loads the graphs of one bundle on one device."""

    name: str
    """What really runs, e.g. "onnxruntime CPUExecutionProvider"."""

    def engine(self, graph: str) -> Engine:
        """Load a graph (once; later calls return the same engine)."""

    def to_device(self, array: Array) -> Tensor:
        """A device tensor with the array's values; it may share the array's memory."""

    def to_host(self, tensor: Tensor) -> Array:
        """A numpy view or copy of a tensor."""

    def release(self, graph: str) -> None:
        """Drop an engine and its memory; the next `engine` call loads it again."""
