"""Streams, events and captured graphs of a GPU."""

from collections.abc import Callable
from typing import Any

from dimrt.backends.cuda import Device
from dimrt.errors import ResourceError


class Graph:
    """Work that was captured from a stream, to be queued again as a whole."""

    def __init__(self, device: Device, captured: Any) -> None:
        self._device = device
        (self._executable,) = device.call("cuGraphInstantiate", captured, 0)

    def launch(self, stream: "Stream") -> None:
        """Queue it."""
        self._device.call("cuGraphLaunch", self._executable, stream.handle)

    def __del__(self) -> None:
        if hasattr(self, "_executable"):
            self._device.discard("cuGraphExecDestroy", self._executable)


class Stream:
    """Work in order on a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        flags = device.driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        (self.handle,) = device.call("cuStreamCreate", int(flags))

    def synchronize(self) -> None:
        """Wait until everything queued so far is done."""
        self.device.call("cuStreamSynchronize", self.handle)

    def follow(self, other: "Stream") -> None:
        """Let what is queued here from now on wait for what is queued there so far."""
        mark = Event(self.device)
        mark.record(other)
        self.device.call("cuStreamWaitEvent", self.handle, mark.handle, 0)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Capture what `work` queues here, which is not run now.

        Raises:
            ResourceError: something in it can't be captured, or `work` raised.
        """
        driver, device = self.device.driver, self.device
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        device.call("cuStreamBeginCapture", self.handle, mode)
        try:
            work()
        except ResourceError:
            with device.current():
                driver.cuStreamEndCapture(self.handle)  # it was invalidated; the first error is the one to tell
            raise
        (captured,) = device.call("cuStreamEndCapture", self.handle)
        try:
            return Graph(device, captured)
        finally:
            device.call("cuGraphDestroy", captured)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.device.discard("cuStreamDestroy", self.handle)  # its memory goes once its work is over


class Event:
    """A place in a stream's work."""

    def __init__(self, device: Device, *, timing: bool = False) -> None:
        self._device = device
        kinds = device.driver.CUevent_flags
        kind = kinds.CU_EVENT_DEFAULT if timing else kinds.CU_EVENT_DISABLE_TIMING
        (self.handle,) = device.call("cuEventCreate", int(kind))

    def record(self, stream: Stream) -> None:
        """Mark what the stream has queued so far."""
        self._device.call("cuEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait until it is done (at once when nothing was ever recorded)."""
        self._device.call("cuEventSynchronize", self.handle)

    def seconds_since(self, earlier: "Event") -> float:
        """Seconds of the device between two events made with `timing`, both of them over."""
        return float(self._device.call("cuEventElapsedTime", earlier.handle, self.handle)[0]) / 1000

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._device.discard("cuEventDestroy", self.handle)  # waits that were queued on it stay
