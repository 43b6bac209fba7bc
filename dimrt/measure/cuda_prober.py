"""Ceilings of a card that runs TensorRT's engines: copies through the driver."""

from collections.abc import Callable

from dimrt.backends.cuda import Device
from dimrt.backends.cuda_memory import Memory
from dimrt.backends.cuda_stream import Event, Stream
from dimrt.errors import ResourceError
from dimrt.measure.ceilings import Bandwidth
from dimrt.measure.samples import Amount

BYTES = 2**30
"""Of the copied array: more than any card's cache."""
SHARE_OF_FREE = 4
NO_PRODUCTS = "products are not measured with TensorRT: that would need an engine built for each format"


class CudaProber:
    """See `dimrt.measure.ceilings.Prober`."""

    threads: int | None = None
    sizes: tuple[int, ...] = (4096, 8192)

    def __init__(self) -> None:
        self._device = Device()

    def bandwidth(self, amount: Amount) -> Bandwidth:
        """Of copies on the device, timed by its own clock."""
        nbytes = min(BYTES, self._device.memory()[0] // SHARE_OF_FREE)
        memory, stream = Memory(self._device), Stream(self._device)
        source, target = (memory.allocate(nbytes, stream, "the measurement of bandwidth") for _ in range(2))
        self._device.call("cuMemsetD8Async", source.use(stream), 1, nbytes, stream.handle)
        seconds = []
        for number in amount.turns():
            begin, end = Event(self._device, timing=True), Event(self._device, timing=True)
            begin.record(stream)
            self._device.call("cuMemcpyDtoDAsync", target.use(stream), source.use(stream), nbytes, stream.handle)
            end.record(stream)
            end.synchronize()
            if number:  # the first one warms up
                seconds.append(end.seconds_since(begin))
        source.free()
        target.free()
        memory.trim()
        return Bandwidth(None, 2 * nbytes / min(seconds), nbytes, "copies on the device")

    def product(self, kind: str, size: int) -> Callable[[], None]:
        """None so far."""
        raise ResourceError(NO_PRODUCTS)
