"""The manifest that a bundle of a published model would have, without its weights.

What `dimrt estimate` reads is shapes, work and sizes of files, which follow from the model's configuration alone: every
graph is traced on the meta device, and nothing else is made.

    python -m dimrt.export.outline dim-4.6b-edit          # writes what dimrt brings; run it again when a graph changes

writes `dimrt/predict/models/dim-4.6b-edit.json`, and to `dimrt/predict/recipes.toml` what each recipe makes of it.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import onnx_ir as ir

from dimrt.export import facts, graphs
from dimrt.export.graphs import polynomial
from dimrt.export.graphs.activations import activations
from dimrt.export.graphs.sizes import Sizes
from dimrt.export.graphs.work import MULTIPLY_ADD, work
from dimrt.export.model.random import NAMES, RandomCheckpoint
from dimrt.export.model.source import Source
from dimrt.export.precision import Recipe, Rule, load_recipe
from dimrt.export.precision.formats import Format, group_size
from dimrt.export.precision.sites import find_sites
from dimrt.export.writer import Writer
from dimrt.files import atomic_write
from dimrt.manifest import FORMAT_VERSION, FileRecord, Graph, Manifest, Measured, Provenance
from dimrt.memory.count import evaluate
from dimrt.memory.setting import Setting, axes
from dimrt.predict.models import FOLDER
from dimrt.predict.recipes import BASE, Share
from dimrt.predict.recipes import FILE as SHARES

UNKNOWN = "0" * 64
"""The sum of a file that was never made."""
QUANTIZED = ("int8", "int4", "fp8", "int8-cpu", "int4-cpu")
"""Recipes whose shares are written."""
COMPUTED: Mapping[Format, str] = {"w8a8": "int8", "fp8": "fp8"}
"""Formats of weights and activations, which the product is then computed in."""
HALF_BYTES = 2


@dataclass(frozen=True)
class Part:
    """One graph of an outline: its record, its traced model and the bytes of its weights."""

    record: Graph
    model: ir.Model
    size: int


def parts(source: Source, recipe: Recipe) -> dict[str, Part]:
    """Every graph of a model in an unquantized recipe.

    Args:
        source: its tensors aren't read.
        recipe: without rules, such as fp16: what quantization measures needs weights.
    """
    if recipe.rules:
        raise ValueError(f"{recipe.name}: only an unquantized recipe has an outline")
    writer = Writer(source, recipe)
    return {name: _part(writer, name) for name in graphs.graph_names(source.config)}


def outline(source: Source, recipe: Recipe, made: Mapping[str, Part]) -> Manifest:
    """The manifest of a bundle; files have their sizes and no sums."""
    writer = Writer(source, recipe)
    records = {name: part.record for name, part in made.items()}
    files = {part.record.file + ".data": FileRecord(size=part.size, sha256=UNKNOWN) for part in made.values()}
    return Manifest(
        format=FORMAT_VERSION,
        name=source.config.name.removesuffix("-random"),
        recipe=recipe.name,
        designer=facts.designer_facts(writer.dim, source.parts.designer_folder),
        painter=facts.painter_facts(source.config),
        resolution=source.config.resolution,
        schedule=source.config.schedule,
        graphs=records,
        licence="none: an outline without weights",
        provenance=Provenance(checkpoint="none: an outline", tool="dimrt", versions={}),
        files=files,
    )


def shares(made: Mapping[str, Part], sizes: Mapping[str, Mapping[str, int]], recipe: Recipe) -> dict[str, Share]:
    """What a recipe leaves of each graph that it changes: bytes of weights, and operations in other formats.

    Args:
        made: the graphs in half precision.
        sizes: each graph's axes in an edit (`dimrt.memory.setting.axes`), which operations are counted at.
        recipe: whose rules apply.
    """
    found = {}
    for name, part in made.items():
        whole = sum(evaluate(terms, sizes[name]) for terms in part.record.work.operations.values())
        counted = Sizes(part.model.graph)
        size, moved = float(part.size), dict[str, float]()
        for product in (product for site in find_sites(part.model) for product in site.products):
            rule = recipe.rule(name, product.name)
            if rule is None:
                continue
            rows, columns = (int(side) for side in product.node.inputs[1].shape)
            size -= rows * columns * HALF_BYTES - _quantized_bytes(rule, rows, columns)
            form = "int8" if recipe.runtime == "onnxruntime" else COMPUTED.get(rule.format)  # as in `graphs.work`
            if form is not None:
                elements = polynomial.named(counted.elements(product.node.outputs[0]))
                moved[form] = moved.get(form, 0.0) + MULTIPLY_ADD * rows * evaluate(elements, sizes[name])
        if size != part.size:
            operations = {form: round(count / whole, 3) for form, count in moved.items()}
            found[name] = Share(round(size / part.size, 3), operations)
    return found


def _quantized_bytes(rule: Rule, rows: int, columns: int) -> float:
    """Of one weight with its scales, in half precision."""
    if rule.format == "w4a16" and (group := group_size(rows, rule.group)):
        return rows * columns / 2 + rows // group * columns * HALF_BYTES
    return rows * columns + columns * HALF_BYTES


def _part(writer: Writer, name: str) -> Part:
    """One graph, traced."""
    definition = writer.define(name)
    model, pieces = writer.make(definition)
    record = Graph(
        file=f"onnx/{name}.onnx",
        inputs=definition.inputs,
        outputs=definition.outputs,
        error=Measured(max_abs=0.0, relative=0.0, limit=writer.recipe.limits[name], cases=0),
        activations=activations(model),
        work=work(model),
    )
    return Part(record, model, sum(slot.nbytes for piece in pieces for slot in piece.slots))


def _write_shares(changed: Mapping[str, Mapping[str, Share]]) -> None:
    """`recipes.toml`."""
    lines = ["# What recipes leave of DIM-4.6B's half-precision graphs. Written by python -m dimrt.export.outline."]
    for recipe, of_graphs in changed.items():
        for graph, share in of_graphs.items():
            lines += ["", f"[{recipe}.{graph}]", f"weights = {share.weights}"]
            if share.operations:
                each = ", ".join(f"{form} = {part}" for form, part in share.operations.items())
                lines.append(f"operations = {{ {each} }}")
    with atomic_write(SHARES) as file:
        file.write("\n".join([*lines, ""]).encode())


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write the outline of a published model.")
    parser.add_argument("name", choices=list(NAMES))
    name = parser.parse_args().name
    source, recipe = RandomCheckpoint.published(name), load_recipe(BASE)
    made = parts(source, recipe)
    manifest = outline(source, recipe, made)
    with atomic_write(FOLDER / f"{name}.json") as file:
        file.write(msgspec.json.encode(manifest) + b"\n")
    sizes = axes(manifest, Setting((manifest.resolution.side,) * 2))
    _write_shares({other: shares(made, sizes, load_recipe(other)) for other in QUANTIZED})


if __name__ == "__main__":
    _main()
