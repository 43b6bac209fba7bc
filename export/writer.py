"""One model in one recipe: its graphs and tables, written to files tensor by tensor."""

import json
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
import torch

from dimrt.export import graphs
from dimrt.export.graphs.contract import DTYPES, GraphDefinition
from dimrt.export.graphs.kernels import use_own_kernels
from dimrt.export.graphs.weights import Piece, pieces, write_weights
from dimrt.export.graphs.write import trace
from dimrt.export.model.assembly import empty_dim
from dimrt.export.model.dim import EMBEDDING
from dimrt.export.model.source import Source
from dimrt.export.precision import Recipe
from dimrt.export.precision.quantize import quantize
from dimrt.export.precision.statistics import Statistics
from dimrt.export.stream import Ledger, Stream, Unkept
from dimrt.manifest import FileRecord

TABLES: Mapping[str, tuple[str, str]] = {
    "embeddings": (EMBEDDING, "language"),
    "null_condition": ("painter.null_condition", "context"),
}
"""The rows the host reads, by file name: the tensor, and the graph whose dtype they have.

The embedding is the one tensor a bundle may hold twice: as rows here, and transposed as `language`'s tied head.
"""
STORED_AS = {torch.float32: "F32", torch.float16: "F16"}


class Writer:
    """Writes graphs and tables of a model that is never in memory as a whole.

    Args:
        source: where tensors are read from.
        recipe: precision.
        statistics: of the activations, for recipes that need them.
    """

    def __init__(self, source: Source, recipe: Recipe, statistics: Statistics | None = None) -> None:
        self.source, self.recipe, self.statistics = source, recipe, statistics
        self.dim = empty_dim(source.config, source.parts)
        self.names = {id(parameter): name for name, parameter in self.dim.named_parameters()}

    def define(self, graph: str) -> GraphDefinition:
        """A graph over the empty model."""
        return graphs.define(graph, self.dim, self.recipe)

    def make(self, definition: GraphDefinition) -> tuple[ir.Model, list[Piece]]:
        """A graph in the recipe's formats, and what its weights are made of."""
        model = trace(definition)
        made = pieces(definition, model, self.names, self.source.read)
        if self.recipe.rules:
            made = quantize(model, made, definition.name, self.recipe, self.statistics)
        if self.recipe.runtime == "onnxruntime":
            made = use_own_kernels(model, made)
        return model, made

    def write_graph(self, definition: GraphDefinition, folder: Path) -> dict[str, FileRecord]:
        """Make and write a graph in one go."""
        return self.write_made(definition.name, *self.make(definition), folder, Unkept())

    def write_made(
        self, graph: str, model: ir.Model, made: list[Piece], folder: Path, ledger: Ledger
    ) -> dict[str, FileRecord]:
        """Write `folder`/onnx/NAME.onnx and its data; return both files' sums by name relative to `folder`."""
        name = f"onnx/{graph}.onnx"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        return write_weights(model, made, path, ledger, name)

    def write_table(self, table: str, folder: Path, ledger: Ledger) -> dict[str, FileRecord]:
        """Write `folder`/tables/NAME.safetensors, one tensor under the table's name."""
        tensor, graph = TABLES[table]
        dtype = DTYPES[self.recipe.dtypes[graph]]
        rows = self.source.read(tensor).to(dtype).contiguous()
        entry = {"dtype": STORED_AS[dtype], "shape": list(rows.shape), "data_offsets": [0, rows.nbytes]}
        header = json.dumps({table: entry}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        name = f"tables/{table}.safetensors"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with Stream(path, name, ledger) as stream:
            if stream.parts == 0:
                stream.write(len(header).to_bytes(8, "little") + header)
                stream.write(rows.numpy())
                stream.complete_part()
            return {name: stream.record()}

    def graph_bytes(self, graph: str) -> int:
        """About what a graph's data file will hold."""
        total = 0.0
        for name, parameter in self.define(graph).module.named_parameters():
            rule = self.recipe.rule(graph, name) if parameter.dim() == 2 else None
            bits = 8 * parameter.itemsize if rule is None else QUANTIZED_BITS[rule.format]
            total += parameter.numel() * bits / 8
        return int(total)

    def table_bytes(self, table: str) -> int:
        """About what a table's file will hold."""
        tensor, graph = TABLES[table]
        count = next(p.numel() for name, p in self.dim.named_parameters() if name == tensor)
        return count * DTYPES[self.recipe.dtypes[graph]].itemsize


QUANTIZED_BITS: Mapping[str, float] = {"float": 16, "w8a16": 8.1, "w4a16": 4.2, "w8a8": 8.1, "fp8": 8.1}
"""Of a weight with its scales."""
