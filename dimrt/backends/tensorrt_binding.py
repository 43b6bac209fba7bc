"""One run of an engine for one set of shapes: where every tensor lies, and the work in the order it is queued.

Host inputs lie together, so that one copy sends them all; host outputs likewise. A binding that is kept for replay has
fixed places for everything that would move from run to run, so that a captured CUDA graph finds it again.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dimrt.backends.cuda_memory import Array, DeviceTensor, Pinned, aligned
from dimrt.backends.cuda_stream import Graph
from dimrt.backends.lane import Lane
from dimrt.errors import ResourceError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One call of an engine, sorted.

    Attributes:
        host: inputs to be sent from the host, in the contract's dtype, C order.
        moving: device inputs to be copied to a fixed place first.
        bound: device inputs used where they are.
        into: outputs written into the given tensors.
        keep: outputs that stay on the device.
    """

    host: Mapping[str, Array]
    moving: Mapping[str, DeviceTensor]
    bound: Mapping[str, DeviceTensor]
    into: Mapping[str, DeviceTensor]
    keep: Collection[str]

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every input."""
        return {name: tuple(t.shape) for group in (self.host, self.moving, self.bound) for name, t in group.items()}


@dataclass
class Slot:
    """A place in one of a binding's blocks."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


@dataclass
class Block:
    """Tensors side by side, each aligned."""

    slots: dict[str, Slot] = field(default_factory=dict)
    nbytes: int = 0

    def add(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Give a tensor a place."""
        self.slots[name] = Slot(self.nbytes, shape, dtype)
        self.nbytes += aligned(self.slots[name].nbytes)


class Binding:
    """Places of all tensors of one call, set in an execution context.

    Attributes:
        graph: the captured work, once there is one.
        runs: how often it ran without one.
    """

    def __init__(
        self,
        name: str,
        context: Any,
        lane: Lane,
        call: Call,
        outputs: Mapping[str, np.dtype[Any]],
        complaint: Callable[[str], ResourceError],
        *,
        fixed: bool,
    ) -> None:
        """Set shapes and addresses.

        Args:
            name: of the graph, for errors.
            context: an execution context that has no other user until this binding is done with.
            lane: whose stream and scratch memory are used.
            call: its shapes and the tensors that stay where they are; its values are not used yet.
            outputs: dtype of every output.
            complaint: makes the error of what the library refused.
            fixed: make places that last, for replay.

        Raises:
            OutOfMemory: for any of the places.
            ResourceError: the engine refuses a shape or an address.
        """
        self.graph: Graph | None = None
        self.runs = 0
        self._context, self._lane, self._complaint, self._fixed = context, lane, complaint, fixed
        self._host_names, self._moving_names = list(call.host), list(call.moving)
        for tensor, shape in call.shapes.items():
            self._must(context.set_input_shape(tensor, shape), f"takes no {tensor} of shape {shape}")
        shapes = {output: tuple(context.get_tensor_shape(output)) for output in outputs}
        self._arriving, self._leaving = self._blocks(call, outputs, shapes)
        self._sent_bytes = sum(aligned(self._arriving.slots[name].nbytes) for name in self._host_names)
        self._fetched = [output for output in outputs if output not in call.into and output not in call.keep]
        self._fetched_bytes = sum(aligned(self._leaving.slots[output].nbytes) for output in self._fetched)
        self.scratch = self._take_scratch(name)
        self._inputs = lane.memory.allocate(self._arriving.nbytes, lane.stream, f"the inputs of `{name}`")
        self._outputs = lane.memory.allocate(self._leaving.nbytes, lane.stream, f"the outputs of `{name}`")
        self._pinned = Pinned(lane.memory.device, self._sent_bytes) if fixed else None
        self._landed = Pinned(lane.memory.device, self._fetched_bytes) if fixed else None
        self.kept: dict[str, DeviceTensor] = {}
        for output in call.keep:  # a comprehension's cell would hold this object as long as an error's traceback
            self.kept[output] = self._place_of_kept(name, output, shapes[output], outputs[output])
        self._set_addresses(call)

    def run(self, call: Call) -> None:
        """Queue the call's work as it is."""
        self.runs += 1
        self._feed(call)
        self._send()
        self._mark_sent()
        self._execute()

    def replay(self, call: Call) -> None:
        """Queue the captured work for the call's values."""
        if self.graph is None:
            raise RuntimeError("nothing was captured")
        self._feed(call)
        self.graph.launch(self._lane.stream)
        self._mark_sent()

    def capture(self) -> None:
        """Capture the work between the copies of the moving inputs and the end, for `replay`.

        Raises:
            ResourceError: it can't be captured.
        """
        with self._lane.memory.postponed():
            self.graph = self._lane.stream.capture(self._queue)

    def _queue(self) -> None:
        """What is captured."""
        self._send()
        self._execute()

    def fetch(self) -> dict[str, Array]:
        """The outputs for the host, once the work is done; to be asked right after a run."""
        if not self._fetched:
            return {}
        self._lane.stream.synchronize()
        landed, slots = self._landing(), self._leaving.slots
        return {name: landed.read(slots[name].offset, slots[name].shape, slots[name].dtype) for name in self._fetched}

    def _blocks(
        self, call: Call, outputs: Mapping[str, np.dtype[Any]], shapes: Mapping[str, Shape]
    ) -> tuple[Block, Block]:
        """Inputs that arrive (those from the host first) and outputs that leave (those for the host first)."""
        arriving, leaving = Block(), Block()
        for group in (call.host, call.moving):
            for name, tensor in group.items():
                arriving.add(name, tuple(tensor.shape), np.dtype(tensor.dtype))
        for output, dtype in outputs.items():
            if output not in call.into and output not in call.keep:
                leaving.add(output, shapes[output], dtype)
        if self._fixed:
            for output in call.keep:
                leaving.add(output, shapes[output], outputs[output])
        return arriving, leaving

    def _set_addresses(self, call: Call) -> None:
        stream = self._lane.stream
        places = {name: self._inputs.use(stream) + slot.offset for name, slot in self._arriving.slots.items()}
        places |= {name: self._outputs.use(stream) + slot.offset for name, slot in self._leaving.slots.items()}
        places |= {name: tensor.use(stream) for name, tensor in (*call.bound.items(), *call.into.items())}
        places |= {name: tensor.use(stream) for name, tensor in self.kept.items()}
        for name, address in places.items():
            self._must(self._context.set_tensor_address(name, address), f"takes no address for {name}")

    def _take_scratch(self, name: str) -> int:
        """Scratch memory for these shapes, shared with the lane's other engines."""
        nbytes = int(self._context.update_device_memory_size_for_shapes())
        address = self._lane.scratch(max(nbytes, 1), f"the activations of `{name}`")
        self._context.set_device_memory(address, nbytes)
        return address

    def _place_of_kept(self, name: str, output: str, shape: Shape, dtype: np.dtype[Any]) -> DeviceTensor:
        if self._fixed:
            return DeviceTensor(self._outputs, shape, dtype, self._leaving.slots[output].offset)
        return self._lane.tensor(shape, dtype, f"output {output} of `{name}`")

    def _feed(self, call: Call) -> None:
        """Put the call's host values where they are sent from, and its moving tensors where they are read."""
        lane = self._lane
        arrays = [call.host[name] for name in self._host_names]
        places = [self._arriving.slots[name].offset for name in self._host_names]
        if not arrays:
            self._source = 0  # nothing is sent, and what was sent before need not be waited for
        elif self._pinned is None:
            self._source = lane.pack(arrays, places, self._sent_bytes).address
        else:
            lane.wait_until_sent()
            for array, place in zip(arrays, places, strict=True):
                self._pinned.write(place, array)
            self._source = self._pinned.address
        base = self._inputs.use(lane.stream)
        for name in self._moving_names:
            slot = self._arriving.slots[name]
            lane.copy(base + slot.offset, call.moving[name].use(lane.stream), slot.nbytes)
        for tensor in (*call.bound.values(), *call.into.values()):
            tensor.use(lane.stream)

    def _send(self) -> None:
        lane = self._lane
        lane.copy_in(self._inputs.use(lane.stream), self._source, self._sent_bytes)

    def _mark_sent(self) -> None:
        if self._sent_bytes:
            self._lane.sent()

    def _execute(self) -> None:
        """Execute, and fetch what is for the host."""
        lane = self._lane
        self._must(self._context.execute_async_v3(int(lane.stream.handle)), "could not be run")
        if self._fetched:
            lane.copy_out(self._landing().address, self._outputs.use(lane.stream), self._fetched_bytes)

    def _landing(self) -> Pinned:
        return self._landed if self._landed is not None else self._lane.landing(self._fetched_bytes)

    def _must(self, done: bool, problem: str) -> None:
        if not done:
            raise self._complaint(problem)
