"""One role's stream on the GPU and what its engines share: scratch memory, and pinned memory on the way in and out.

Engines of a role run one after the other, so that one piece of each is enough; a piece grows to the largest need.
"""

from collections.abc import Sequence

import numpy as np

from dimrt.backends.cuda_memory import Array, Buffer, DeviceTensor, Memory, Pinned, aligned
from dimrt.backends.cuda_stream import Event, Stream


class Lane:
    """The stream of one role.

    Attributes:
        memory: where its GPU memory comes from.
        stream: where all its work is queued.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.stream = Stream(memory.device)
        self._scratch: Buffer | None = None
        self._outgoing: Pinned | None = None
        self._incoming: Pinned | None = None
        self._sent = Event(memory.device)

    def scratch(self, nbytes: int, what: str) -> int:
        """Address of scratch memory of at least `nbytes`; it changes only when the memory has to grow."""
        if self._scratch is None or self._scratch.nbytes < nbytes:
            self._scratch = None  # freed before the longer one is asked for
            self._scratch = self.memory.allocate(aligned(nbytes), self.stream, what)
        return self._scratch.use(self.stream)

    @property
    def scratch_address(self) -> int | None:
        """Address of the scratch memory as it is."""
        return None if self._scratch is None else self._scratch.use(self.stream)

    def pack(self, arrays: Sequence[Array], places: Sequence[int], nbytes: int) -> Pinned:
        """Pinned memory with the arrays' bytes at their places, once its last content has been sent."""
        self.wait_until_sent()
        if self._outgoing is None or self._outgoing.nbytes < nbytes:
            self._outgoing = None
            self._outgoing = Pinned(self.memory.device, nbytes)
        for array, place in zip(arrays, places, strict=True):
            self._outgoing.write(place, array)
        return self._outgoing

    def wait_until_sent(self) -> None:
        """Wait until what was packed last has left."""
        self._sent.synchronize()

    def sent(self) -> None:
        """What was packed has been queued for sending: the next `pack` waits for it."""
        self._sent.record(self.stream)

    def landing(self, nbytes: int) -> Pinned:
        """Pinned memory for results; whoever asks for it reads it before the next one asks."""
        if self._incoming is None or self._incoming.nbytes < nbytes:
            self._incoming = None
            self._incoming = Pinned(self.memory.device, nbytes)
        return self._incoming

    def send(self, array: Array, tensor: DeviceTensor) -> None:
        """Queue a copy of a host array into a tensor."""
        pinned = self.pack([array], [0], array.nbytes)
        self.copy_in(tensor.use(self.stream), pinned.address, array.nbytes)
        self.sent()

    def fetch(self, tensor: DeviceTensor) -> Array:
        """A tensor's values on the host, once everything that writes it is done."""
        if tensor.nbytes == 0:
            return np.empty(tensor.shape, tensor.dtype)
        pinned = self.landing(tensor.nbytes)
        self.copy_out(pinned.address, tensor.use(self.stream), tensor.nbytes)
        self.stream.synchronize()
        return pinned.read(0, tensor.shape, tensor.dtype)

    def copy_in(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy from pinned memory to the GPU."""
        if nbytes:
            self.memory.device.call("cuMemcpyHtoDAsync", target, source, nbytes, self.stream.handle)

    def copy_out(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy from the GPU to pinned memory."""
        if nbytes:
            self.memory.device.call("cuMemcpyDtoHAsync", target, source, nbytes, self.stream.handle)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Queue a copy on the GPU."""
        if nbytes:
            self.memory.device.call("cuMemcpyDtoDAsync", target, source, nbytes, self.stream.handle)

    def tensor(self, shape: tuple[int, ...], dtype: object, what: str) -> DeviceTensor:
        """A new tensor, its values not set."""
        kind = np.dtype(dtype)  # type: ignore[call-overload]
        nbytes = int(np.prod(shape)) * kind.itemsize
        return DeviceTensor(self.memory.allocate(nbytes, self.stream, what), shape, kind)

    def clear(self) -> None:
        """Wait for the work, then give everything back."""
        self.stream.synchronize()
        self._scratch = self._outgoing = self._incoming = None
