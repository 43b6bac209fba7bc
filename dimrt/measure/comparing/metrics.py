"""Numbers of a document of `dimrt bench` that can be set beside those of another one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """Samples of one metric in both documents.

    Attributes:
        name: like "edit" or "graph step".
        unit: of the samples.
        higher: whether more is better.
        before, after: samples in the order they were measured.
    """

    name: str
    unit: str
    higher: bool
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class Single:
    """A number that both documents hold once: it can be set side by side, not tested."""

    name: str
    unit: str
    before: float
    after: float


def both(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Metric]:
    """Metrics with samples in both documents."""
    one, other = samples_of(before), samples_of(after)
    for name, (unit, higher, samples) in one.items():
        if name in other and samples and other[name][2]:
            yield Metric(name, unit, higher, samples, other[name][2])


def samples_of(document: Mapping[str, Any]) -> dict[str, tuple[str, bool, tuple[float, ...]]]:
    """Unit, whether more is better, and samples of every metric of a document."""
    edit, decode, sustained = (document.get(part) or {} for part in ("edit", "decode", "sustained"))
    found: dict[str, tuple[str, bool, tuple[float, ...]]] = {
        "edit": ("s", False, tuple(edit.get("samples_s", ()))),
        "second edit": ("s", False, tuple(edit.get("second_edit_s", ()))),
        "long run": ("s", False, tuple(sustained.get("samples_s", ()))),
    }
    if decode.get("tokens") and decode.get("plan_s"):
        rates = tuple(tokens / seconds for tokens, seconds in zip(decode["tokens"], decode["plan_s"], strict=True))
        found["plan"] = ("tokens/s", True, rates)
    for name, samples in edit.get("phases", {}).items():
        found[f"phase {name}"] = ("s", False, tuple(samples))
    for name, graph in document.get("graphs", {}).items():
        found[f"graph {name}"] = ("s", False, tuple(graph.get("samples_s", ())))
    return {name: metric for name, metric in found.items() if all(sample > 0 for sample in metric[2])}


def singles(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Single]:
    """Numbers that both documents hold once."""
    for name, unit, path in (
        ("cold first edit", "s", ("edit", "cold_s")),
        ("peak memory", "bytes", ("memory", "peak_rss_bytes")),
        ("GPU memory", "bytes", ("memory", "device_bytes")),
        ("tokens in a pass", "", ("decode", "tokens_per_pass")),
        ("energy of an edit", "J", ("power", "joules_per_edit")),
        ("bandwidth", "bytes/s", ("ceilings", "bandwidth")),
    ):
        one, other = _at(before, path), _at(after, path)
        if one is not None and other is not None:
            yield Single(name, unit, one, other)


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    found: Any = document
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None
