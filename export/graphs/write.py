"""A graph definition becomes an ONNX file with its weights beside it, byte for byte the same every time."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir
import torch

from dimrt.export.graphs.contract import GraphDefinition

OPSET = 24
"""TensorScatter is of opset 24."""

INLINE_BYTES = 1024
"""Smaller constants (shapes, scalars) stay in the graph, so that shape inference sees them."""


def write_graph(definition: GraphDefinition, path: Path) -> None:
    """Export to `path` and its weights to `path` + ".data", one file with each weight once."""
    model = to_onnx(definition)
    ir.save(model, path, external_data=path.name + ".data", size_threshold_bytes=INLINE_BYTES)


def to_onnx(definition: GraphDefinition) -> ir.Model:
    """The ONNX model, with the contract's names and no trace of the machine that made it."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            definition.module.eval(),
            definition.example(),
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in definition.inputs],
            output_names=[spec.name for spec in definition.outputs],
            dynamic_shapes=_dynamic_shapes(definition),
            verbose=False,
        )
    model = program.model
    for value, spec in zip(
        (*model.graph.inputs, *model.graph.outputs), (*definition.inputs, *definition.outputs), strict=True
    ):
        if value.name != spec.name:
            raise RuntimeError(f"{definition.name}: the exporter named {value.name!r} what is {spec.name!r}")
        value.shape = ir.Shape(spec.shape)
    _forget_origins(model)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes about itself (no torchvision, deprecations inside torch) are no use to anybody here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _dynamic_shapes(definition: GraphDefinition) -> tuple[object, ...]:
    """A graph with a variable number of inputs takes the rest as one tuple."""
    shapes = definition.dynamic_shapes()
    if definition.name == "language":
        return (*shapes[:6], shapes[6:])
    return shapes


def _forget_origins(model: ir.Model) -> None:
    """Drop stack traces and paths: they differ from machine to machine and belong to nobody's bundle."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
