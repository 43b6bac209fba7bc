"""Help for tests that count: graphs of a few nodes."""

import onnx_ir as ir

FLOAT = ir.TensorType(ir.DataType.FLOAT)
HALF = ir.TensorType(ir.DataType.FLOAT16)


def tensor(name: str, *shape: int | str, kind: ir.TensorType = FLOAT) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=kind)


def graph(inputs: list[ir.Value], nodes: list[tuple[str, list[ir.Value], ir.Value]]) -> ir.Model:
    """The last node's result is the graph's output."""
    made = [ir.Node("", kind, sources, outputs=[result]) for kind, sources, result in nodes]
    return ir.Model(ir.Graph(inputs, [nodes[-1][2]], nodes=made, opset_imports={"": 24}, name="test"), ir_version=10)
