"""Published figures as pieces of work: operations and bytes from the models' published sizes (`published.toml`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from dimrt.engines.target import load_target
from dimrt.predict.rates import FAMILIES, OTHER, Rates, target_rates
from dimrt.work import Work

FILE = Path(__file__).parent / "published.toml"
HALF_BYTES, BYTE_BITS, MULTIPLY_ADD = 2, 8, 2
HEAD_BITS = 16
"""Of the output head, where a figure says nothing."""
TENSORS_A_LAYER = 10
"""Tensors as wide as the model between a layer's products, beside two of the inner width, where modules are counted."""
AS_NODES = 4.6
"""Bytes between the nodes of an exported graph over those between modules: `language` of DIM-4.6B has 388 KB a token
and layer, where the count by modules gives 85. Predictions are made of graphs, so figures count like them."""


@dataclass(frozen=True)
class Figure:
    """One published time: `seconds` of pieces of work, each with how often it occurs."""

    what: str
    model: str
    rates: Rates
    seconds: float
    pieces: tuple[tuple[Work, float], ...]
    source: str


def read_figures(path: Path = FILE) -> list[Figure]:
    """All of the file, in its order."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_figure(entry, content) for entry in content["figure"]]


def _figure(entry: dict[str, Any], content: dict[str, Any]) -> Figure:
    pieces = _PIECES[entry["kind"]](entry, content)
    tokens = entry.get("tokens", 1) if entry["kind"] == "prompt" else 1
    seconds = entry["seconds"] if "seconds" in entry else tokens / entry["per_second"]
    rates = _rates(entry["device"], content)
    model = entry.get("model", entry["kind"])
    return Figure(entry["what"], model, rates, seconds, tuple(pieces), entry["source"])


def _rates(name: str, content: dict[str, Any]) -> Rates:
    device = content["device"].get(name)
    if device is None:
        return target_rates(load_target(name))
    family = FAMILIES.get(device["capability"], OTHER)
    return Rates(name, family, "data sheet", device["bandwidth"], {"float16": device["float16"]})


def _token(entry: dict[str, Any], content: dict[str, Any]) -> list[tuple[Work, float]]:
    """One token of a decoder."""
    return [(_decoder(entry, content, 1, entry.get("cache", 0)), 1)]


def _prompt(entry: dict[str, Any], content: dict[str, Any]) -> list[tuple[Work, float]]:
    """Tokens read at once."""
    return [(_decoder(entry, content, entry["tokens"], entry["tokens"]), 1)]


def _decoder(entry: dict[str, Any], content: dict[str, Any], tokens: int, cache: int) -> Work:
    size = content["decoder"][entry["model"]]
    hidden, layers = size["hidden"], size["layers"]
    layer = hidden * (2 * size["query"] + 2 * size["key_value"]) + 3 * hidden * size["inner"]
    head = hidden * size["vocabulary"]
    attention = 2 * MULTIPLY_ADD * tokens * cache * size["query"] * layers
    return Work(
        operations={"float16": MULTIPLY_ADD * (layers * layer * tokens + head) + attention},
        weights=round((layers * layer * entry["bits"] + head * entry.get("head_bits", HEAD_BITS)) / BYTE_BITS),
        tensors=2 * layers * size["key_value"] * cache * HALF_BYTES,
        intermediate=_between(layers * tokens * (TENSORS_A_LAYER * hidden + 2 * size["inner"]) * HALF_BYTES),
    )


def _encoder(entry: dict[str, Any], content: dict[str, Any]) -> list[tuple[Work, float]]:
    """One picture through a vision transformer in half precision."""
    size = content["encoder"][entry["model"]]
    hidden, layers, tokens = size["hidden"], size["layers"], size["tokens"]
    layer = 4 * hidden**2 + 2 * hidden * size["inner"]
    attention = 2 * MULTIPLY_ADD * tokens**2 * hidden * layers
    work = Work(
        operations={"float16": MULTIPLY_ADD * layers * layer * tokens + attention + size.get("extra", 0)},
        weights=layers * layer * HALF_BYTES,
        tensors=0,
        intermediate=_between(layers * tokens * (TENSORS_A_LAYER * hidden + 2 * size["inner"]) * HALF_BYTES),
    )
    return [(work, 1)]


def _network(entry: dict[str, Any], content: dict[str, Any]) -> list[tuple[Work, float]]:
    """A counted network in half precision, some times."""
    return [(_counted(content, entry["model"], entry.get("rows", 1), "float16"), entry.get("runs", 1))]


def _picture(entry: dict[str, Any], content: dict[str, Any]) -> list[tuple[Work, float]]:
    """Steps of SDXL's U-Net and its decoder."""
    step = _counted(content, "sdxl-unet", entry["rows"], entry["products"])
    return [(step, entry["steps"]), (_counted(content, "sdxl-decoder", 1, "float16"), 1)]


def _counted(content: dict[str, Any], name: str, rows: int, products: str) -> Work:
    size = content["counted"][name]
    operations = {"float16": rows * size["attention"]}
    operations[products] = operations.get(products, 0) + rows * size["products"]
    bytes_each = 1 if products == "int8" else HALF_BYTES
    weights = size["weights"] * bytes_each / HALF_BYTES
    return Work(operations, round(weights), 0, _between(rows * size["intermediate"]))


def _between(modules: float) -> int:
    """Bytes between nodes."""
    return round(AS_NODES * modules)


_PIECES = {"token": _token, "prompt": _prompt, "encoder": _encoder, "network": _network, "picture": _picture}
