"""What a graph's intermediate tensors take at once, as polynomials in its named axes.

The model of memory is that of a runtime without fusion: nodes run in the order of the file, a tensor lives from the
node that makes it to the last that reads it. Free are weights, inputs and outputs (whoever runs the graph owns those),
views, elementwise results that fit over an operand that dies, and dequantized values, which are read inside products.
An Attention node holds its scores in float32, as it does where no fused kernel serves it. A runtime that fuses more
takes less; one that pads its allocations or computes in a wider type takes more (`dimrt.memory` states by how much).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import onnx_ir as ir

from dimrt.export.graphs import polynomial
from dimrt.export.graphs.polynomial import Polynomial
from dimrt.export.graphs.sizes import IN_PLACE, VIEWS, Sizes

SCORE_BYTES = 4
LARGEST_AXIS = 8192
"""Which polynomials matter is judged with axes from 1 up to this."""
SAMPLES = 2000


@dataclass
class Memory:
    """A piece of memory of the graph's own: its size, and the index of the last node that reads it."""

    size: Polynomial
    last: int = -1


def activations(model: ir.Model) -> tuple[dict[str, float], ...]:
    """Polynomials in bytes whose largest bounds what the intermediate tensors take: `Graph.activations`.

    Raises:
        RuntimeError: the shape or type of a tensor isn't known, so nothing can be promised.
    """
    sizes = Sizes(model.graph)
    return tuple(polynomial.named(peak) for peak in _largest(_live(model.graph, sizes)))


def _live(graph: ir.Graph, sizes: Sizes) -> Iterator[Polynomial]:
    """What is alive while each node runs."""
    nodes = list(graph)
    memory = _allocate(graph, nodes, sizes)
    begins: dict[int, list[Memory]] = {}
    seen: set[int] = set()
    for index, node in enumerate(nodes):
        for output in node.outputs:
            held = memory.get(output)
            if held is not None and id(held) not in seen:
                seen.add(id(held))
                begins.setdefault(index, []).append(held)
    alive: list[Memory] = []
    for index, node in enumerate(nodes):
        alive = [held for held in alive if held.last >= index] + begins.get(index, [])
        yield polynomial.total([*(held.size for held in alive), _workspace(node, sizes)])


def _workspace(node: ir.Node, sizes: Sizes) -> Polynomial:
    """Bytes that a node takes beside its results: the scores of attention [batch, heads, queries, keys]."""
    return polynomial.scaled(sizes.scores(node), Fraction(SCORE_BYTES))


def _allocate(graph: ir.Graph, nodes: list[ir.Node], sizes: Sizes) -> dict[ir.Value, Memory]:
    """The memory behind every tensor that is the graph's own; views and results in place share their operand's."""
    last = _last_reads(nodes)
    outputs = set(graph.outputs)
    memory: dict[ir.Value, Memory] = {}
    for index, node in enumerate(nodes):
        for position, output in enumerate(node.outputs):
            if output in outputs or output.name == "":
                continue
            shared = _shared(node, output, index, memory, sizes) if position == 0 else None
            if shared is None and node.op_type in VIEWS:
                continue  # of a weight, an input or an output
            held = memory[output] = shared or Memory(sizes.of(output))
            held.last = max(held.last, index, last.get(output, -1))
    return memory


def _last_reads(nodes: list[ir.Node]) -> dict[ir.Value, int]:
    """Index of the last node that reads each value."""
    return {value: index for index, node in enumerate(nodes) for value in node.inputs if value is not None}


def _shared(
    node: ir.Node, output: ir.Value, index: int, memory: Mapping[ir.Value, Memory], sizes: Sizes
) -> Memory | None:
    """The operand's memory that a result lies in, if any."""
    if node.op_type in VIEWS:
        return memory.get(node.inputs[0]) if node.inputs[0] is not None else None
    if node.op_type in IN_PLACE:
        size = sizes.of(output)
        for operand in node.inputs:
            held = memory.get(operand) if operand is not None else None
            if held is not None and held.last <= index and held.size == size:
                return held
    return None


def _largest(candidates: Iterator[Polynomial]) -> list[Polynomial]:
    """The polynomials that are the largest of all somewhere, the greatest first."""
    unique: list[Polynomial] = []
    for candidate in candidates:
        if not any(polynomial.covers(other, candidate) for other in unique):
            unique = [other for other in unique if not polynomial.covers(candidate, other)] + [candidate]
    names = sorted({name for candidate in unique for monomial in candidate for name in monomial})
    draw = random.Random(0)
    points = [dict.fromkeys(names, 1), dict.fromkeys(names, LARGEST_AXIS)]
    points += [{name: round(LARGEST_AXIS ** draw.random()) for name in names} for _ in range(SAMPLES)]
    wins = [0] * len(unique)
    for point in points if unique else []:
        values = [polynomial.value(candidate, point) for candidate in unique]
        wins[values.index(max(values))] += 1
    order = sorted(range(len(unique)), key=lambda i: -wins[i])
    return [unique[i] for i in order if wins[i]]
