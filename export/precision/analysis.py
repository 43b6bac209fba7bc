"""Which layers cost most: the error of every quantizable product in every format, and recipes made from that."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dimrt.errors import InputError
from dimrt.export.graphs.weights import Piece
from dimrt.export.precision.formats import Format, group_size
from dimrt.export.precision.recipe import FP16, Recipe, Rule
from dimrt.export.precision.scaling import Sample, choose, relative_errors
from dimrt.export.precision.sites import Site, find_sites
from dimrt.export.precision.statistics import InputStatistics, Statistics
from dimrt.export.precision.store import Store
from dimrt.files import atomic_write
from dimrt.manifest import GRAPHS

FORMATS: tuple[Format, ...] = ("w8a16", "w4a16", "w8a8", "fp8")
"""Every format that is measured."""
OFFERED: Mapping[str, tuple[Format, ...]] = {
    "vision": ("w4a16", "w8a16"),
    "language": ("w4a16", "w8a16"),
    "connector": ("w4a16", "w8a16"),
    "context": ("w4a16", "w8a16"),
    "step": ("w8a8",),
}
"""Formats a made recipe takes, the smallest first: weights alone where a graph is bound by memory, whole products where
it is bound by arithmetic. Graphs that aren't named stay as they are."""
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "vision": ("embed.weight",),
    "step": ("embed.weight", "time.*", "out.weight"),
}
"""Small layers whose error every other layer sees."""
BITS: Mapping[Format, int] = {"float": 16, "w8a16": 8, "w4a16": 4, "w8a8": 8, "fp8": 8}
ASSUMED_ROWS = 64
ROOM = 3.0
"""A made recipe's limits over the error predicted for a graph."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One product. `errors` are relative: norm of the error over norm of the product, on sampled activations."""

    graph: str
    weight: str
    rows: int
    columns: int
    errors: dict[Format, float]

    def size(self, form: Format) -> int:
        """Bytes in a format, scales (half precision) included."""
        count = self.rows * self.columns
        scales = 0 if form == "float" else self.columns
        if form == "w4a16":
            scales = count // (group_size(self.rows, None) or self.rows)
        return count * BITS[form] // 8 + 2 * scales


@dataclass(frozen=True)
class Analysis:
    """All layers of a model. `source` says what the activations were measured on."""

    name: str
    layers: tuple[Layer, ...]
    source: str

    def worst_first(self) -> list[Layer]:
        """Layers by the error of the smallest format their graph is offered."""
        return sorted(self.layers, key=lambda layer: -layer.errors[OFFERED[layer.graph][0]])

    def table(self, count: int | None = None) -> str:
        """Plain text, the layers that cost most first; `count` limits the rows."""
        shown = self.worst_first()[:count]
        width = max([len(f"{layer.graph} {layer.weight}") for layer in shown] + [5])
        lines = [f"{'layer':<{width}}{'half MB':>10}" + "".join(f"{form:>9}" for form in FORMATS)]
        for layer in shown:
            errors = "".join(f"{layer.errors[form]:>9.2%}" for form in FORMATS)
            lines.append(f"{f'{layer.graph} {layer.weight}':<{width}}{layer.size('float') / 1e6:>10.3f}{errors}")
        return "\n".join(lines)

    def chosen(self, budget: float) -> dict[Layer, Format]:
        """The format of every layer: the fewest bytes, greedily, such that the root of the summed squared errors of
        each graph is at most `budget`.

        Every layer begins with the smallest format; then the step that lessens the squared error most for each byte it
        costs is taken, until the budget holds.
        """
        chosen: dict[Layer, Format] = {}
        for graph in OFFERED:
            layers = [layer for layer in self.layers if layer.graph == graph]
            chosen |= _within(layers, OFFERED[graph], budget)
        return chosen

    def unchanged(self) -> dict[Layer, Format]:
        """Every layer in half precision, to compare sizes with."""
        return dict.fromkeys(self.layers, "float")

    def recipe_within(self, budget: float, base: Recipe = FP16) -> Recipe:
        """The recipe of `chosen`, with the dtypes of `base`. Limits have room over the predicted error.

        Raises:
            InputError: the budget isn't above 0.
        """
        if not budget > 0:
            raise InputError(f"--budget is {budget}; give the relative error a graph may have, such as 0.05")
        chosen = self.chosen(budget)
        rules = tuple(
            Rule(layer.graph, layer.weight, form, group_size(layer.rows, None) if form == "w4a16" else None)
            for layer, form in chosen.items()
            if form != "float"
        )
        limits = {}
        for graph in GRAPHS:
            squares = [_error(layer, form) ** 2 for layer, form in chosen.items() if layer.graph == graph]
            limits[graph] = float(f"{max(base.limits[graph], ROOM * sum(squares) ** 0.5):.2g}")
        about = f"made for {self.name}: error of each graph's products at most {budget:g}, on {self.source}"
        return Recipe(f"{self.name}-within-{budget:g}", dict(base.dtypes), limits, rules, about)

    def write(self, path: Path, budget: float, base: Recipe = FP16) -> Recipe:
        """Write `recipe_within` as TOML, and return it."""
        recipe = self.recipe_within(budget, base)
        with atomic_write(path) as file:
            file.write(recipe_text(recipe).encode())
        return recipe


def analyze_graph(model: ir.Model, pieces: list[Piece], graph: str, statistics: Statistics) -> Iterator[Layer]:
    """The layers of one traced graph, one site's weights in memory at a time."""
    store = Store(model, pieces)
    for site in find_sites(model):
        names = [product.name for product in site.products if not left_out(graph, product.name)]
        if names:
            yield from _site_layers(store, graph, site, names, _with_rows(statistics.of(graph, names[0])))


def left_out(graph: str, weight: str) -> bool:
    """Whether a weight is never quantized."""
    return graph not in OFFERED or any(fnmatchcase(weight, pattern) for pattern in LEFT_OUT.get(graph, ()))


def recipe_text(recipe: Recipe) -> str:
    """A recipe as TOML."""
    lines = [f"name = {_quoted(recipe.name)}", f"description = {_quoted(recipe.description)}", "", "[dtypes]"]
    lines += [f"{graph} = {_quoted(dtype)}" for graph, dtype in recipe.dtypes.items()]
    lines += ["", "[limits]", *(f"{graph} = {limit:g}" for graph, limit in recipe.limits.items())]
    for rule in recipe.rules:
        lines += ["", "[[rules]]", f"graph = {_quoted(rule.graph)}", f"weights = {_quoted(rule.weights)}"]
        lines += [f"format = {_quoted(rule.format)}"]
        lines += [] if rule.group is None else [f"group = {rule.group}"]
        lines += [] if rule.scaling else ["scaling = false"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _site_layers(store: Store, graph: str, site: Site, names: list[str], inputs: InputStatistics) -> Iterator[Layer]:
    samples, shapes = {}, {}
    for name in names:
        weight = store.read(name)
        shapes[name] = tuple(weight.shape)
        samples[name] = Sample.of(weight, "float", None)
    errors: dict[str, dict[Format, float]] = {name: {} for name in names}
    for form in FORMATS:
        formed = [samples[name].in_form(*_fitting(form, shapes[name][0])) for name in names]
        scaling = choose(formed, inputs)
        for name, error in zip(names, relative_errors(formed, inputs, scaling), strict=True):
            errors[name][form] = error
    for name in names:
        yield Layer(graph, name, *shapes[name], errors[name])


def _fitting(form: Format, rows: int) -> tuple[Format, int | None]:
    if form != "w4a16":
        return form, None
    group = group_size(rows, None)
    return ("w4a16", group) if group else ("w8a16", None)


def _with_rows(inputs: InputStatistics) -> InputStatistics:
    """Measured inputs as they are; assumed ones with unit-normal rows, so that errors can be measured at all."""
    if len(inputs.rows):
        return inputs
    width = len(inputs.largest)
    rows = np.random.default_rng(width).standard_normal((ASSUMED_ROWS, width), np.float32)
    return InputStatistics(inputs.largest, inputs.mean, rows, ASSUMED_ROWS)


def _error(layer: Layer, form: Format) -> float:
    return 0.0 if form == "float" else layer.errors[form]


def _within(layers: Iterable[Layer], offered: tuple[Format, ...], budget: float) -> dict[Layer, Format]:
    """One graph's formats."""
    ladder: tuple[Format, ...] = (*offered, "float")
    chosen = dict.fromkeys(layers, ladder[0])
    while sum(_error(layer, form) ** 2 for layer, form in chosen.items()) > budget**2:
        layer, form, _ = max(_steps(chosen, ladder), key=_gain)
        chosen[layer] = form
    return chosen


def _steps(chosen: dict[Layer, Format], ladder: tuple[Format, ...]) -> Iterator[tuple[Layer, Format, Format]]:
    """Every step up that a layer can take: (layer, to, from)."""
    for layer, form in chosen.items():
        for better in ladder[ladder.index(form) + 1 :]:
            yield layer, better, form


def _gain(step: tuple[Layer, Format, Format]) -> float:
    """Squared error less, for each byte more."""
    layer, better, form = step
    return (_error(layer, form) ** 2 - _error(layer, better) ** 2) / (layer.size(better) - layer.size(form))
