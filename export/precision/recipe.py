"""A recipe is data: a TOML file that says which weights and activations get which format.

`dtypes` are those of a graph's activations and of every weight that no rule quantizes. The graph modules read them and
write the casts themselves; the rules are applied to the traced graph (`quantize`). The networks are strongly typed,
nothing is asked of the builder of an engine.

In every recipe these stay in float32: residual streams, layer and RMS norms, softmax, the sums of linear attention,
the timestep sinusoid, guidance and solver, latents and pixels at the graph border.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import msgspec
import torch

from dimrt.errors import InputError
from dimrt.export.precision.formats import SMALLEST_GROUP, Format
from dimrt.manifest import GRAPHS

DType = Literal["float32", "float16"]
FOLDER = Path(__file__).parent / "recipes"
NAMES = ("fp32", "fp16", "int8", "int4", "fp8", "int8-cpu", "int4-cpu")
"""The recipes of this package."""
GROUPS = (16, 32, 64, 128, 256)
MEASURED: frozenset[Format] = frozenset({"w4a16", "w8a8", "fp8"})
"""Formats that need, or gain by, knowing the activations."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weights of `graph` whose names match `weights` get `format`. Both are glob patterns; later rules win.

    `group` is the number of input rows that share a scale; None means one scale an output channel, for w4a16 groups
    of 128. `scaling` lets channels be rescaled between layers before rounding (see `scaling`).
    """

    graph: str
    weights: str
    format: Format
    group: int | None = None
    scaling: bool = True


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per graph: `dtypes` of activations and unquantized weights, and `limits` of the error against float32 torch.

    The error is relative: the norm of the difference over the norm of the reference, worst over all cases.
    """

    name: str
    dtypes: dict[str, DType]
    limits: dict[str, float]
    rules: tuple[Rule, ...] = ()
    description: str = ""

    def torch_dtype(self, graph: str) -> torch.dtype:
        """The dtype of a graph's activations."""
        return torch.float16 if self.dtypes[graph] == "float16" else torch.float32

    def rule(self, graph: str, weight: str) -> Rule | None:
        """The rule for a weight; None where it stays as it is."""
        for rule in reversed(self.rules):
            if fnmatchcase(graph, rule.graph) and fnmatchcase(weight, rule.weights):
                return None if rule.format == "float" else rule
        return None

    @property
    def measured(self) -> bool:
        """Whether the activations have to be measured first (calibration)."""
        return any(rule.format in MEASURED for rule in self.rules)

    def unquantized(self) -> "Recipe":
        """The same without rules: what is run to measure activations, in the same types."""
        limits = {graph: max(self.limits[graph], FP16.limits[graph]) for graph in GRAPHS}
        return Recipe(name=f"{self.name} unquantized", dtypes=self.dtypes, limits=limits)


def load_recipe(name: str | Path) -> Recipe:
    """One of this package's recipes by name, or a recipe file.

    Raises:
        InputError: there is no such recipe, or the file has a field that is wrong; the message names file and field.
    """
    if str(name) in NAMES:
        return _read(FOLDER / f"{name}.toml")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no recipe {str(name)!r}; give one of {', '.join(NAMES)}, or a .toml file")
    return _read(path)


def _read(path: Path) -> Recipe:
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check its permissions") from error
    except msgspec.DecodeError as error:  # of syntax, and of types and fields
        raise InputError(f"{path}: {error}; see the recipes in {FOLDER}") from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML: {error}; see the recipes in {FOLDER}") from error
    _check(path, recipe)
    return recipe


def _check(path: Path, recipe: Recipe) -> None:
    for field, table in (("dtypes", recipe.dtypes), ("limits", recipe.limits)):
        unknown, missing = sorted(table.keys() - set(GRAPHS)), [graph for graph in GRAPHS if graph not in table]
        if unknown:
            raise InputError(f"{path}: `{field}.{unknown[0]}`: there is no such graph; the graphs are {_list(GRAPHS)}")
        if missing:
            raise InputError(f"{path}: `{field}` says nothing of {missing[0]}; it needs an entry for {_list(GRAPHS)}")
    for graph, limit in recipe.limits.items():
        if not 0 < limit < float("inf"):
            raise InputError(f"{path}: `limits.{graph}` is {limit}; give a relative error above 0, such as 0.01")
    for number, rule in enumerate(recipe.rules):
        _check_rule(f"{path}: `rules[{number}]", rule, recipe)


def _check_rule(place: str, rule: Rule, recipe: Recipe) -> None:
    graphs = [graph for graph in GRAPHS if fnmatchcase(graph, rule.graph)]
    if not graphs:
        raise InputError(f"{place}.graph` {rule.graph!r} matches no graph; the graphs are {_list(GRAPHS)}")
    if rule.group is not None and rule.group not in GROUPS:
        raise InputError(f"{place}.group` is {rule.group}; give one of {_list(GROUPS)}, or leave it out")
    if rule.group is not None and rule.format not in ("w8a16", "w4a16"):
        raise InputError(f"{place}.group` does not go with format {rule.format!r}, whose scales are per output channel")
    if rule.format == "fp8" and any(recipe.dtypes[graph] != "float16" for graph in graphs):
        raise InputError(f"{place}.format` fp8 needs float16 activations; set `dtypes` of {_list(graphs)} to it")


def _list(values: tuple[object, ...] | list[str]) -> str:
    return ", ".join(str(value) for value in values)


FP32, FP16 = load_recipe("fp32"), load_recipe("fp16")
RECIPES: Mapping[str, Recipe] = MappingProxyType({name: load_recipe(name) for name in NAMES})
assert set(get_args(Format)) >= MEASURED and min(GROUPS) == SMALLEST_GROUP
