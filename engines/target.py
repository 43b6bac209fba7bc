"""Targets: what a device has and what engines are built for it, one TOML file each.

`[shapes.GRAPH]` bounds the named dimensions of a graph as [least, usual, most]; a bundle that needs less gets less
(`dimrt.engines.profiles`). `[pinned]` fixes dimensions that a builder can't leave open.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from dimrt.errors import InputError
from dimrt.manifest import GRAPHS, Frozen

Range = tuple[int, int, int]
"""Least, usual and most of one dimension."""

AXES: dict[str, tuple[str, ...]] = {
    "vision": ("windows",),
    "language": ("tokens", "rows"),
    "connector": ("rows",),
    "context": ("batch", "rows"),
    "step": ("batch", "rows", "height", "width"),
    "encode": ("height", "width"),
    "decode": ("height", "width"),
}
"""What `[shapes.GRAPH]` may bound. Other named dimensions follow from these."""
PINNABLE = ("length",)
"""What `[pinned]` may fix: the rows of the key/value cache."""
RATES = ("float32", "float16", "int8", "fp8")
"""Number formats that `[peak]` may give a rate for."""
FOLDER = Path(__file__).parent / "targets"
LARGEST_FILE = 64 * 1024
"""Bytes; a target file is about one kilobyte."""


class Target(Frozen, frozen=True):
    """One kind of device.

    Attributes:
        name: of the file.
        device: what it is called by its maker.
        compute_capability: of the GPU, like "8.7"; None for a processor.
        memory_bytes: what one process can really use, in bytes.
        bandwidth: of that memory, bytes a second.
        peak: dense operations a second of each number format (a multiply-add counts two); no entry: not supported.
        flavour: what builds and runs the engines.
        recipe: precision recipe that suits the device.
        residency: "all" keeps every engine loaded; "phased" holds designer and painter one after the other.
        shapes: graph and dimension to (least, usual, most).
        pinned: dimensions fixed in the engine.
    """

    name: str
    device: str
    memory_bytes: int
    bandwidth: float
    peak: dict[str, float]
    flavour: Literal["tensorrt", "tensorrt-rtx", "onnxruntime"]
    recipe: str
    residency: Literal["all", "phased"]
    compute_capability: str | None = None
    shapes: dict[str, dict[str, Range]] = msgspec.field(default_factory=dict)
    pinned: dict[str, int] = msgspec.field(default_factory=dict)


def target_names() -> list[str]:
    """Names of the targets that come with dimrt."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_target(name_or_path: str | Path) -> Target:
    """Read a target that comes with dimrt, or a TOML file of one's own (anything with a slash or ending in .toml).

    Raises:
        InputError: no such target, or the file has a mistake; the message names the file, the key and what is allowed.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return _read(Path(name_or_path))
    if text not in target_names():
        known = ", ".join(target_names())
        raise InputError(f"unknown target {text!r}; give one of {known}, or the path of a .toml file")
    return _read(FOLDER / f"{text}.toml")


def _read(path: Path) -> Target:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} has over {LARGEST_FILE:,} bytes: not a target file; name a small .toml file")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"target {path} can't be read: {error.strerror}; give the path of a .toml file or one of "
            f"{', '.join(target_names())}"
        ) from None
    return _parse(path, raw)


def _parse(path: Path, raw: bytes) -> Target:
    try:
        content = msgspec.toml.decode(raw)
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{path} isn't valid TOML: {error}; correct that line") from None
    _check_names(path, "", content, Target.__struct_fields__)
    try:
        target = msgspec.convert(content, Target)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {_plain(error)}; correct that entry") from None
    _check_values(path, target)
    return target


def _plain(error: msgspec.ValidationError) -> str:
    """The validator's message with the path of the key as one writes it in TOML."""
    reason, _, where = str(error).rpartition(" - at `$.")
    return f"`{where.rstrip('`')}`: {reason}" if reason else str(error)


def _check_names(path: Path, prefix: str, names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Every name is one of `allowed`."""
    for name in names:
        if name not in allowed:
            raise InputError(f"{path}: unknown key `{prefix}{name}`; allowed: {', '.join(allowed)}")


def _check_values(path: Path, target: Target) -> None:
    """Names of graphs, dimensions and formats, and the numbers' order and sign."""
    _check_names(path, "peak.", target.peak, RATES)
    _check_names(path, "pinned.", target.pinned, PINNABLE)
    _check_names(path, "shapes.", target.shapes, GRAPHS)
    numbers = {"memory_bytes": target.memory_bytes, "bandwidth": target.bandwidth}
    numbers |= {f"peak.{name}": rate for name, rate in target.peak.items()}
    numbers |= {f"pinned.{name}": size for name, size in target.pinned.items()}
    for key, number in numbers.items():
        if not 0 < number < float("inf"):
            raise InputError(f"{path}: `{key}` is {number}; give a number above 0")
    for graph, axes in target.shapes.items():
        _check_names(path, f"shapes.{graph}.", axes, AXES[graph])
        for axis, (least, usual, most) in axes.items():
            if not 1 <= least <= usual <= most:
                raise InputError(
                    f"{path}: `shapes.{graph}.{axis}` is [{least}, {usual}, {most}]; "
                    "give [least, usual, most] with 1 <= least <= usual <= most"
                )
    if path.stem != target.name:
        raise InputError(f"{path}: `name` is {target.name!r}; allowed: the file's own name, {path.stem!r}")
    _check_capability(path, target)


def _check_capability(path: Path, target: Target) -> None:
    capability = target.compute_capability
    if target.flavour == "onnxruntime":
        if capability is not None:
            raise InputError(f"{path}: `compute_capability` is given for a processor; leave it out")
        return
    major, dot, minor = (capability or "").partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise InputError(f'{path}: `compute_capability` is {capability!r}; give it in quotes like "8.7"')
