"""Operators that ONNX Runtime alone knows, in place of standard ones, for recipes that say `runtime = "onnxruntime"`.

Attention over a cache becomes `com.microsoft.GroupQueryAttention`, which writes the cache itself and reads only the
rows in use, in the layout of the products around it; the standard operator's kernel reads every row of the cache. One
thread of a Xeon, behind 306 of 512 rows of nano's cache: 26 us instead of 40 for one token, 2.2 ms instead of 3.8 for
256. The mask has no reader then: what it says, causal among the rows in use, is what the operator does.
"""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

DOMAIN = "com.microsoft"
CACHED_ATTENTION = "GroupQueryAttention"
HEADS_AXIS, ROWS_AXIS = 1, 2
SPLIT = ("Transpose", "Reshape")
"""What makes [1, heads, S, d] of [1, S, heads * d], from the end."""


def use_own_kernels(model: ir.Model) -> None:
    """Replace what this runtime has better operators for, in place. Graphs without attention over a cache stay."""
    attentions = [node for node in model.graph if node.op_type == "Attention"]
    makers = [(node, node.inputs[1].producer()) for node in attentions]
    cached = [node for node, maker in makers if maker is not None and maker.op_type == "TensorScatter"]
    if not cached:
        return
    counts = _rows_in_use(model.graph, _maker(cached[0].inputs[1]).inputs[2])
    for node in cached:
        _replace(model.graph, node, counts)
    model.opset_imports[DOMAIN] = 1
    RemoveUnusedNodesPass()(model)


def _rows_in_use(graph: ir.Graph, position: ir.Value) -> tuple[ir.Value, ir.Value]:
    """int32 [1]: the last row in use, and the number of rows, once the run's tokens are written from `position` on."""
    tokens = next(value for value in graph.inputs if value.name == "embeddings")
    count = ir.node("Shape", [tokens], {"start": 1, "end": 2})
    total = ir.node("Add", [position, count.outputs[0]])
    rows = ir.node("Cast", [total.outputs[0]], {"to": ir.DataType.INT32})
    one = ir.node("Constant", [], {"value": ir.tensor([1], ir.DataType.INT32)})
    last = ir.node("Sub", [rows.outputs[0], one.outputs[0]])
    nodes = (count, total, rows, one, last)
    for node, kind in zip(nodes, ("INT64", "INT64", "INT32", "INT32", "INT32"), strict=True):
        value = node.outputs[0]
        value.name, value.shape, value.type = (
            f"{node.op_type.lower()}_rows",
            ir.Shape([1]),
            ir.TensorType(ir.DataType[kind]),
        )
    graph.insert_before(graph[0], nodes)
    return last.outputs[0], rows.outputs[0]


def _replace(graph: ir.Graph, attention: ir.Node, counts: tuple[ir.Value, ir.Value]) -> None:
    query, keys, values = (_maker(value) for value in attention.inputs[:3])
    key = _maker(keys.inputs[1])
    heads, kv_heads = (_heads(rotary.inputs[0]) for rotary in (query, key))
    for rotary, count in ((query, heads), (key, kv_heads)):
        flat = _joined(rotary.inputs[0])
        rotary.replace_input_with(0, flat)
        rotary.attributes["num_heads"] = ir.AttrInt64("num_heads", count)
        rotary.outputs[0].shape = flat.shape
    joined = _only_reader(_only_reader(attention.outputs[0]).outputs[0]).outputs[0]
    made = ir.Node(
        DOMAIN,
        CACHED_ATTENTION,
        [query.outputs[0], key.outputs[0], _joined(values.inputs[1]), keys.inputs[0], values.inputs[0], *counts],
        [ir.AttrInt64("num_heads", heads), ir.AttrInt64("kv_num_heads", kv_heads)],
        num_outputs=3,
    )
    graph.insert_after(attention, made)
    replaced = (joined, keys.outputs[0], values.outputs[0])
    for old, new in zip(replaced, made.outputs, strict=True):
        new.shape, new.type, name, old.name = old.shape, old.type, old.name, None
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        new.name = name


def _maker(value: ir.Value | None) -> ir.Node:
    producer = value.producer() if value is not None else None
    if producer is None:
        raise RuntimeError(f"{value and value.name} is made by no node, where attention over a cache needs one")
    return producer


def _joined(split: ir.Value) -> ir.Value:
    """What was [1, S, heads * d] before it was split into heads."""
    for kind in SPLIT:
        node = _maker(split)
        if node.op_type != kind:
            raise RuntimeError(f"{split.name} is made by {node.op_type}, where heads are split by {kind}")
        split = node.inputs[0]
    return split


def _heads(split: ir.Value) -> int:
    return int(split.shape[HEADS_AXIS])


def _only_reader(value: ir.Value) -> ir.Node:
    (use,) = value.uses()
    return use.node
