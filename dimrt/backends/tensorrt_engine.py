"""One TensorRT engine: sorts what it is fed, runs it, and replays runs of the same shape as a CUDA graph."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dimrt.backends.base import Merged, Tensor
from dimrt.backends.cuda_memory import ALIGNMENT, Array, DeviceTensor
from dimrt.backends.lane import Lane
from dimrt.backends.tensorrt_binding import Binding, Call
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.manifest import TensorSpec

if TYPE_CHECKING:
    from dimrt.engines.record import Record

MOVING = {"step": frozenset({"latent", "previous"})}
"""Device inputs that lie elsewhere in each run: they are copied to a fixed place, where a captured graph finds them."""


@dataclass(frozen=True)
class Loaded:
    """A deserialized engine and what makes its execution contexts.

    Attributes:
        engine: the library's object.
        new_context: makes an execution context without scratch memory of its own, for single or for repeated runs.
        complaint: makes the error of what the library refused, with the library's reason.
        aliases: outputs that the engine writes over an input, and which.
        captures: whether the library captures repeated runs into a CUDA graph by itself.
    """

    engine: Any
    new_context: Callable[[bool], Any]
    complaint: Callable[[str], ResourceError]
    aliases: Mapping[str, str]
    captures: bool


class TensorRtEngine:
    """One loaded graph; see `dimrt.backends.base.Engine`."""

    def __init__(
        self, graph: str, contract: Sequence[TensorSpec], record: "Record", loaded: Loaded, lane: Lane
    ) -> None:
        """Use a loaded engine.

        Args:
            graph: its name.
            contract: the graph's inputs in the manifest, whose named dimensions the engine may have pinned.
            record, loaded, lane: the engine, and the lane that it runs in.
        """
        self._graph, self._record, self._loaded, self._lane = graph, record, loaded, lane
        self._pinned = {
            side: size
            for wide, narrow in zip(contract, record.inputs, strict=True)
            for side, size in zip(wide.shape, narrow.shape, strict=True)
            if isinstance(side, str) and isinstance(size, int)
        }
        self._inputs = {spec.name: spec for spec in record.inputs}
        self._outputs = {spec.name: np.dtype(spec.dtype) for spec in record.outputs}
        self._single: Any = None  # contexts: one for runs of their own, one for replay
        self._repeated: Any = None
        self._profiles: dict[int, int] = {}
        self._fixed: tuple[object, Binding] | None = None
        self.uncaptured: str | None = None
        """Why runs of the same shape are not replayed as a CUDA graph, when they should be."""

    def limit(self, axis: str) -> int | None:
        """The longest a named dimension may be."""
        longest: int | None = self._record.limit(axis)
        return longest

    def pinned(self, axis: str) -> int | None:
        """The length that a dimension of the contract has in this engine."""
        return self._pinned.get(axis)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        """The engine with these tensors in every run; which ones lie where they did is seen from run to run."""
        return Merged(self, feeds, into)

    def run(
        self,
        feeds: Mapping[str, Tensor],
        *,
        into: Mapping[str, Tensor] | None = None,
        keep: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Run once; the work is queued, and waited for only when there are outputs for the host.

        Raises:
            InputError: a shape that the engine was not built for.
            OutOfMemory: the GPU's memory is full.
            ResourceError: the GPU or the library failed.
        """
        with self._lane.memory.device.current():
            call = self._sort(feeds, into or {}, keep)
            profile = self._profile_of(call.shapes)
            if self._record.cuda_graph and call.shapes.get("embeddings", (1, 1))[1] == 1:
                return self._run_repeated(call, profile)
            if self._single is None:
                self._single = self._loaded.new_context(False)
            self._set_profile(self._single, profile)
            binding = self._bind(self._single, call, fixed=False)
            binding.run(call)
            return {**binding.fetch(), **binding.kept}

    def _run_repeated(self, call: Call, profile: int) -> dict[str, Tensor]:
        """A run whose like will follow: the first is run, the second captured, the others replayed."""
        binding = self._repeated_binding(call, profile)
        if binding.graph is None and binding.runs > 0 and not self._loaded.captures:
            self._capture(binding)
        if binding.graph is None:
            binding.run(call)
        else:
            binding.replay(call)
        lane, kept = self._lane, {}
        for name, place in binding.kept.items():
            kept[name] = lane.tensor(place.shape, place.dtype, f"output {name} of `{self._graph}`")
            lane.copy(kept[name].use(lane.stream), place.use(lane.stream), place.nbytes)
        return {**binding.fetch(), **kept}

    def _repeated_binding(self, call: Call, profile: int) -> Binding:
        """The binding of the run before when everything is where it was, else a new one in its place."""
        stream = self._lane.stream
        tensors = {**call.bound, **call.into}
        key = (
            tuple(sorted(call.shapes.items())),
            tuple(sorted((name, tensor.use(stream)) for name, tensor in tensors.items())),
            tuple(sorted(call.keep)),
        )
        if self._fixed is not None:
            known, binding = self._fixed
            if known == key and binding.scratch == self._lane.scratch_address:
                return binding
            self._lane.stream.synchronize()  # the last replay reads what is freed now
            self._fixed = None
        if self._repeated is None:
            self._repeated = self._loaded.new_context(True)
        self._set_profile(self._repeated, profile)
        binding = self._bind(self._repeated, call, fixed=True)
        self._fixed = key, binding
        return binding

    def _capture(self, binding: Binding) -> None:
        """Capture, or note why not."""
        context = self._repeated
        if not getattr(context, "is_stream_capturable", lambda _: True)(int(self._lane.stream.handle)):
            self.uncaptured = "the library can't capture it yet"
            return
        try:
            binding.capture()
            self.uncaptured = None
        except ResourceError as error:
            self.uncaptured = str(error)

    def _bind(self, context: Any, call: Call, *, fixed: bool) -> Binding:
        return Binding(self._graph, context, self._lane, call, self._outputs, self._loaded.complaint, fixed=fixed)

    def _set_profile(self, context: Any, profile: int) -> None:
        """Set the optimization profile of an execution context."""
        if self._profiles.get(id(context), 0) != profile:
            if not context.set_optimization_profile_async(profile, int(self._lane.stream.handle)):
                raise self._loaded.complaint(f"has no optimization profile {profile}")
            self._profiles[id(context)] = profile

    def _sort(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor], keep: Collection[str]) -> Call:
        host: dict[str, Array] = {}
        moving: dict[str, DeviceTensor] = {}
        bound: dict[str, DeviceTensor] = {}
        for name, spec in self._inputs.items():
            value = feeds[name]
            if not isinstance(value, DeviceTensor):
                host[name] = np.ascontiguousarray(value, spec.dtype)
                continue
            self._check_dtype(name, value, np.dtype(spec.dtype))
            moves = name in MOVING.get(self._graph, ()) or value.offset % ALIGNMENT
            (moving if moves else bound)[name] = value
        for name, value in into.items():
            self._check_dtype(name, value, self._outputs[name])
        self._check_aliases(bound, into)
        return Call(host, moving, bound, into, [name for name in self._outputs if name in keep])

    def _check_dtype(self, name: str, value: Any, dtype: np.dtype[Any]) -> None:
        if not isinstance(value, DeviceTensor) or value.dtype != dtype:
            kind = getattr(value, "dtype", type(value).__name__)
            raise BundleError(
                f"graph `{self._graph}` takes {name} as {dtype} on the GPU and was given {kind}: graphs of this bundle "
                "hand each other different types; export it with a recipe that agrees on them"
            )

    def _check_aliases(self, bound: Mapping[str, DeviceTensor], into: Mapping[str, Tensor]) -> None:
        """What the engine writes over an input must be given as that input; what it doesn't, must not."""
        for output, given in into.items():
            over = self._loaded.aliases.get(output)
            if over is not None and bound.get(over) is not given:
                raise BundleError(f"graph `{self._graph}` writes {output} over {over}: give the same tensor for both")
            if over is None and any(tensor.buffer is given.buffer for tensor in bound.values()):
                raise BundleError(
                    f"graph `{self._graph}` can't write {output} over an input: its engine doesn't update it in place; "
                    "build it with a flavour that has the KV cache update (TensorRT 10.15 or later)"
                )
        missing = [output for output in self._loaded.aliases if output not in into]
        if missing:
            raise BundleError(f"graph `{self._graph}` writes {missing[0]} over an input and was given no place for it")

    def _profile_of(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """The first optimization profile that has room for these shapes.

        Raises:
            InputError: there is none; the message names the dimension and its bounds.
        """
        sizes = {}
        for name, spec in self._inputs.items():
            sizes.update(self._named_sizes(spec, tuple(shapes[name])))
        for index, profile in enumerate(self._record.profiles):
            if all(profile[axis][0] <= size <= profile[axis][2] for axis, size in sizes.items()):
                return index
        widest = self._record.profiles[-1]
        axis, size = next((a, n) for a, n in sizes.items() if not widest[a][0] <= n <= widest[a][2])
        raise InputError(
            f"graph `{self._graph}`: {axis} is {size}, and its engine was built for {widest[axis][0]} to "
            f"{widest[axis][2]}; use a smaller picture or text, or build with a target whose "
            f"[shapes.{self._graph}] allows more"
        )

    def _named_sizes(self, spec: TensorSpec, shape: tuple[int, ...]) -> dict[str, int]:
        """Sizes of an input's named dimensions; the others must be as the contract says."""
        if len(shape) != len(spec.shape) or any(
            isinstance(side, int) and side != size for side, size in zip(spec.shape, shape, strict=True)
        ):
            raise InputError(f"graph `{self._graph}` takes {spec.name} of shape {spec.shape} and was given {shape}")
        return {side: size for side, size in zip(spec.shape, shape, strict=True) if isinstance(side, str)}
