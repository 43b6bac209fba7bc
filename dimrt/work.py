"""What a run of a graph has to do: operations and bytes, from the manifest and the sizes of files alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from dimrt.bundle import Bundle
from dimrt.memory.count import CACHE, evaluate, tensor_bytes


@dataclass(frozen=True)
class Work:
    """One run of one graph.

    Attributes:
        operations: by the number format that products are computed in ("float32", "float16", "int8", "fp8"); a
            multiply-add counts two.
        weights: bytes of weights, as they lie in the file; read once.
        tensors: bytes of inputs and outputs. Of the key/value cache every row is read, and those of the new tokens are
            written.
        intermediate: bytes of the tensors between nodes, each of which is written and read once where nothing is fused.
    """

    operations: dict[str, float]
    weights: int
    tensors: int
    intermediate: int


def graph_work(bundle: Bundle, graph: str, axes: Mapping[str, int]) -> Work | None:
    """The work of one run where the graph's named dimensions have these sizes (an edit's: `dimrt.memory.setting.axes`).

    None for a bundle that was exported before work was recorded.
    """
    record = bundle.manifest.graphs[graph]
    if record.work is None:
        return None
    operations = {form: evaluate(polynomial, axes) for form, polynomial in record.work.operations.items()}
    tensors = sum(tensor_bytes(spec, axes) for spec in record.inputs)
    for spec in record.outputs:
        written = {**axes, "length": axes["tokens"]} if spec.name.startswith(CACHE) else axes
        tensors += tensor_bytes(spec, written)
    file = bundle.manifest.files.get(record.file + ".data")
    weights = 0 if file is None else file.size
    return Work(operations, weights, tensors, int(evaluate(record.work.intermediate, axes)))
