"""A recipe is data: a TOML file that says which weights and activations get which format.

`dtypes` are those of a graph's activations and of every weight that no rule quantizes. The graph modules read them and
write the casts themselves; the rules are applied to the traced graph (`quantize`). The networks are strongly typed,
nothing is asked of the builder of an engine.

A file may name a `base`, a recipe of this package or a file beside it: what its tables say counts over the base's, its
rules come after the base's.

In every recipe these stay in float32: residual streams, layer and RMS norms, softmax, the sums of linear attention,
the timestep sinusoid, guidance and solver, latents and pixels at the graph border.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec
import torch

from dimrt.errors import InputError
from dimrt.export.precision.formats import SMALLEST_GROUP, Format
from dimrt.manifest import GRAPHS

DType = Literal["float32", "float16"]
Runtime = Literal["any", "onnxruntime"]
FOLDER = Path(__file__).parent / "recipes"
NAMES = ("fp32", "fp16", "int8", "int4", "fp8", "fp32-cpu", "int8-cpu", "int4-cpu")
"""The recipes of this package."""
GROUPS = tuple(SMALLEST_GROUP << doublings for doublings in range(5))
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

    The error is relative: the norm of the difference over the norm of the reference, worst over all cases. With
    `runtime` "onnxruntime" the graphs may hold operators that no other runtime knows (`dimrt.export.graphs.kernels`).
    """

    name: str
    dtypes: dict[str, DType]
    limits: dict[str, float]
    rules: tuple[Rule, ...] = ()
    description: str = ""
    runtime: Runtime = "any"

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


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one TOML file says. Name and description are its own, never the base's."""

    name: str
    base: str | None = None
    description: str = ""
    runtime: Runtime | None = None
    dtypes: dict[str, DType] = {}
    limits: dict[str, float] = {}
    rules: tuple[Rule, ...] = ()


def load_recipe(name: str | Path) -> Recipe:
    """One of this package's recipes by name, or a recipe file.

    Raises:
        InputError: there is no such recipe, or the file (or its base) has a field that is wrong; the message names file
            and field.
    """
    if str(name) in NAMES:
        return _load(FOLDER / f"{name}.toml")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no recipe {str(name)!r}; give one of {_list(NAMES)}, or a .toml file")
    return _load(path)


def _load(path: Path) -> Recipe:
    """A file on top of its base, on top of the base's base."""
    files = _with_bases(path)
    dtypes: dict[str, DType] = {}
    limits: dict[str, float] = {}
    rules: dict[str, Rule] = {}
    runtime: Runtime = "any"
    for origin, file in reversed(files.items()):
        _check_tables(origin, file)
        runtime = file.runtime or runtime
        dtypes |= file.dtypes
        limits |= file.limits
        where = origin if origin == path else f"{origin} (a base of {path})"
        rules |= {f"{where}: `rules[{number}]": rule for number, rule in enumerate(file.rules)}
    for field, table in (("dtypes", dtypes), ("limits", limits)):
        missing = [graph for graph in GRAPHS if graph not in table]
        if missing:
            raise InputError(
                f"{path}: `{field}` says nothing of {missing[0]}; it needs an entry for {_list(GRAPHS)}, "
                'or a recipe to take them from, such as base = "fp16"'
            )
    for place, rule in rules.items():
        _check_rule(place, rule, dtypes)
    own = files[path]
    return Recipe(own.name, dtypes, limits, tuple(rules.values()), own.description, runtime)


def _with_bases(path: Path) -> dict[Path, _File]:
    """A file, its base, and so on to the one that has none.

    Raises:
        InputError: a file can't be read, or the bases go round in a circle.
    """
    files = {path: _read(path)}
    seen = {path.resolve()}
    while (base := files[path].base) is not None:
        found = FOLDER / f"{base}.toml" if base in NAMES else path.parent / base
        if not found.is_file():
            raise InputError(
                f"{path}: `base` {base!r}: there is no such recipe; give one of {_list(NAMES)}, or a .toml file by its "
                "path from here"
            )
        if found.resolve() in seen:
            way = " -> ".join(file.name for file in (*files, found))
            raise InputError(f"{path}: `base` {base!r} leads round in a circle ({way}); take one of them out")
        path = found
        seen.add(path.resolve())
        files[path] = _read(path)
    return files


def _read(path: Path) -> _File:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check its permissions") from error
    except msgspec.DecodeError as error:  # of syntax, and of types and fields
        raise InputError(f"{path}: {error}; see the recipes in {FOLDER}") from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML: {error}; see the recipes in {FOLDER}") from error


def _check_tables(path: Path, file: _File) -> None:
    for field, table in (("dtypes", file.dtypes), ("limits", file.limits)):
        unknown = sorted(table.keys() - set(GRAPHS))
        if unknown:
            raise InputError(f"{path}: `{field}.{unknown[0]}`: there is no such graph; the graphs are {_list(GRAPHS)}")
    for graph, limit in file.limits.items():
        if not 0 < limit < float("inf"):
            raise InputError(f"{path}: `limits.{graph}` is {limit}; give a relative error above 0, such as 0.01")


def _check_rule(place: str, rule: Rule, dtypes: Mapping[str, DType]) -> None:
    graphs = [graph for graph in GRAPHS if fnmatchcase(graph, rule.graph)]
    if not graphs:
        raise InputError(f"{place}.graph` {rule.graph!r} matches no graph; the graphs are {_list(GRAPHS)}")
    if rule.group is not None and rule.group not in GROUPS:
        raise InputError(f"{place}.group` is {rule.group}; give one of {_list(GROUPS)}, or leave it out")
    if rule.group is not None and rule.format not in ("w8a16", "w4a16"):
        raise InputError(f"{place}.group` does not go with format {rule.format!r}, whose scales are per output channel")
    if rule.format == "fp8" and any(dtypes[graph] != "float16" for graph in graphs):
        raise InputError(f"{place}.format` fp8 needs float16 activations; set `dtypes` of {_list(graphs)} to it")


def _list(values: tuple[object, ...] | list[str]) -> str:
    return ", ".join(str(value) for value in values)


RECIPES: Mapping[str, Recipe] = MappingProxyType({name: load_recipe(name) for name in NAMES})
FP32, FP16 = RECIPES["fp32"], RECIPES["fp16"]
