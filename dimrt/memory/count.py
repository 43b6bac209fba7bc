"""Bytes of every graph and of the whole chain in a setting.

Of each graph: its weights (the external data file), its activations (the largest of the manifest's polynomials at the
asked shapes), its inputs and outputs, and for `language` the key/value cache. Within a role engines share one scratch
area, so the largest activations count; designer and painter together, or one after the other ("phased"). On a GPU both
roles work at once, and each keeps its scratch area. The autoencoder takes a picture whole, or in tiles (`dimrt.tiles`):
then its activations are those of one tile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from dimrt.backends.base import ROLES, Flavour, Role
from dimrt.bundle import Bundle
from dimrt.manifest import Manifest, TensorSpec
from dimrt.memory.setting import Setting, axes

ITEM_BYTES = {"float32": 4, "float16": 2, "int64": 8}
OVERHEAD = {"onnxruntime": 150_000_000, "tensorrt": 400_000_000, "tensorrt-rtx": 400_000_000}
"""Bytes beside the graphs: Python with ONNX Runtime (seen: 0.1 to 0.15 GB resident); a CUDA context with the builder's
kernels, which NVIDIA doesn't state (commonly 0.3 to 0.5 GB; not measured here)."""
WIDENED = 2
"""ONNX Runtime has no half precision on the CPU: it computes, and keeps weights, in float32; of half inputs and outputs
it holds a copy in float32."""
CONVOLVED = 3
"""ONNX Runtime's convolutions copy what they read into blocks, and its arena grows in doubles: `encode` and `decode`
take 2.6 to 2.9 times what their tensors do (benchmarks/tiles.py)."""
CACHE = ("key_", "value_")
"""How the names of cache tensors begin; each is input and output in one place."""


@dataclass(frozen=True)
class Use:
    """Bytes of one graph. `tensors` are its inputs and outputs, `cache` the keys and values of `language`."""

    role: Role
    graph: str
    weights: int
    activations: int
    tensors: int
    cache: int = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes of every graph and of the whole chain against what is available; `advice` says what would fit.

    `at_once` says that roles that are loaded together also work at the same time.
    """

    setting: Setting
    uses: tuple[Use, ...]
    overhead: int
    at_once: bool
    available: int | None
    advice: tuple[str, ...] = ()

    def of_role(self, role: Role) -> int:
        """Peak while a role works alone, without the overhead."""
        mine = [use for use in self.uses if use.role == role]
        return sum(u.weights + u.cache for u in mine) + max((u.activations + u.tensors for u in mine), default=0)

    @property
    def peak(self) -> int:
        """The most that is held at once."""
        roles = self.of_role("designer"), self.of_role("painter")
        if self.setting.residency == "phased":
            return self.overhead + max(roles)
        if self.at_once:
            return self.overhead + sum(roles)
        held = sum(use.weights + use.cache for use in self.uses)
        return self.overhead + held + max((use.activations + use.tensors for use in self.uses), default=0)

    @property
    def fits(self) -> bool:
        """Whether the peak is within what is available (unknown: yes)."""
        return self.available is None or self.peak <= self.available


def count_bytes(bundle: Bundle, setting: Setting, flavour: Flavour, available: int | None) -> Estimate:
    """Bytes of an edit in a setting, graph by graph."""
    manifest = bundle.manifest
    sizes, whole = axes(manifest, setting), axes(manifest, replace(setting, tile=None))
    wider = WIDENED if flavour == "onnxruntime" and _is_half(manifest) else 1
    uses = []
    for role, names in ROLES.items():
        for name in (n for n in names if n in manifest.graphs and (setting.graphs is None or n in setting.graphs)):
            graph = manifest.graphs[name]
            at = sizes[name]
            file = manifest.files.get(graph.file + ".data")
            specs = (*graph.inputs, *graph.outputs)
            ports = [s for s in specs if not s.name.startswith(CACHE)]
            copies = sum(tensor_bytes(spec, at) for spec in ports if spec.dtype == "float16") * WIDENED
            copied = CONVOLVED if flavour == "onnxruntime" and name in ("encode", "decode") else 1
            joined = sum(tensor_bytes(spec, whole[name]) for spec in ports) if at != whole[name] else 0
            caches = sum(tensor_bytes(s, at) for s in graph.inputs if s.name.startswith(CACHE))
            uses.append(
                Use(
                    role,
                    name,
                    weights=wider * (file.size if file is not None else 0),
                    activations=int(wider * copied * max((evaluate(p, at) for p in graph.activations), default=0)),
                    tensors=sum(tensor_bytes(spec, at) for spec in ports) + (copies if wider > 1 else 0) + joined,
                    cache=caches,
                )
            )
    return Estimate(setting, tuple(uses), OVERHEAD[flavour], flavour != "onnxruntime", available)


def _is_half(manifest: Manifest) -> bool:
    """Whether products are computed in half precision."""
    return any(spec.dtype == "float16" for spec in manifest.graphs["language"].inputs)


def evaluate(polynomial: Mapping[str, float], at: Mapping[str, int]) -> float:
    """A polynomial of the manifest ("height*width" -> factor) where the axes have these sizes."""
    return sum(f * prod(at[name] for name in names.split("*") if name) for names, f in polynomial.items())


def tensor_bytes(spec: TensorSpec, at: Mapping[str, int]) -> int:
    """Bytes of an input or output; a dimension may be a multiple or a part of an axis ("height*32", "height/8")."""
    count = 1
    for side in spec.shape:
        if isinstance(side, int):
            count *= side
        elif "/" in side:
            name, divisor = side.split("/")
            count *= at[name] // int(divisor)
        else:
            name, _, factor = side.partition("*")
            count *= at[name] * int(factor or 1)
    return count * ITEM_BYTES[spec.dtype]
