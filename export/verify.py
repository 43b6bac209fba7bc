"""Exported graphs against the library: on the whole model where it's small, on its first layers where it's large."""

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from dimrt.errors import CheckFailed, ResourceError
from dimrt.export.graphs.cases import Case, Cases
from dimrt.export.graphs.check import measure
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.model.source import Reference, Shallow
from dimrt.export.writer import Writer
from dimrt.manifest import Designer, Measured
from dimrt.prompt import Prompts

LARGE = 10**9
"""Parameters from which on the deep graphs are compared on a copy of their first layers."""
COMPARED_LAYERS = 2
DEEP = ("vision", "language", "step")
"""Graphs over a stack of layers, where each layer needs the one before; the others are compared whole at every size."""
LOAD_ERRORS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)


class Verifier:
    """Compares the graphs of one export with torch in float32."""

    def __init__(self, writer: Writer, designer: Designer, prompts: Prompts) -> None:
        self.writer = writer
        source = writer.source
        self.layers = COMPARED_LAYERS if sum(p.numel() for p in writer.dim.parameters()) >= LARGE else None
        compared = source if self.layers is None else Shallow(source, self.layers)
        self.shallow = None if self.layers is None else Writer(compared, writer.recipe, writer.statistics)
        self.reference = Reference(compared, None if self.layers is None else source)
        layers = compared.parts.designer.text_config.num_hidden_layers
        language = msgspec.structs.replace(designer.language, layers=layers)
        self.cases = Cases(self.reference, msgspec.structs.replace(designer, language=language), prompts)

    def measure(self, definition: GraphDefinition, path: Path) -> Measured:
        """The error of a written graph.

        Raises:
            CheckFailed: it is over the recipe's limit, or ONNX Runtime can't load the file.
        """
        graph, limit = definition.name, self.writer.recipe.limits[definition.name]
        if self.shallow is None or graph not in DEEP:
            return measure(definition, path, self._cases(graph), limit)
        with TemporaryDirectory(dir=path.parent.parent.parent) as folder:
            shallow = self.shallow.define(graph)
            self.shallow.write_graph(shallow, Path(folder))
            measured = measure(shallow, Path(folder, "onnx", path.name), self._cases(graph), limit, self.layers)
        load(path)
        return measured

    def _cases(self, graph: str) -> list[Case]:
        """The cases of a graph, computed before its session takes memory; the library's part is let go of."""
        cases = list(self.cases.of(graph))
        self.reference.drop()
        gc.collect()
        return cases


def load(path: Path) -> None:
    """Have ONNX Runtime load a graph as it stands: nothing is optimized, and weights stay in their file.

    Raises:
        CheckFailed: it can't.
        ResourceError: memory gave out.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except LOAD_ERRORS as error:
        if "bad_alloc" in str(error) or "allocate memory" in str(error):
            raise ResourceError(f"not enough memory to load {path.name}; use a machine with more") from error
        raise CheckFailed(f"ONNX Runtime can't load {path.name}: {error}. Report this model") from error
