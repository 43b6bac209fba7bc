"""A graph definition becomes an ONNX graph without weights; the weights stream in afterwards (`weights.py`).

Traced on the meta device: neither the model's parameters nor a copy of them take memory, at any size.
"""

import copy
import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.weights import pieces, write_weights

OPSET = 24
"""TensorScatter is of opset 24."""

TRACED = "traced_shape"
"""Where an input keeps the shape it was traced with; not written to a file."""


def write_graph(definition: GraphDefinition, path: Path) -> None:
    """Export a definition whose module holds its weights to `path` and `path` + ".data"."""
    model = trace(definition)
    write_weights(model, pieces(definition, model), path)


def trace(definition: GraphDefinition) -> ir.Model:
    """The ONNX model with the contract's names, its weights as initializers without values.

    The module may hold weights or stand on the meta device; it isn't changed. Initializers are named as the module's
    parameters. Nothing in the model tells of the machine that made it.
    """
    module = _without_storage(definition.module.eval())
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(tensor.to("meta") for tensor in definition.example()),
            dynamo=True,
            optimize=False,
            opset_version=OPSET,
            input_names=[spec.name for spec in definition.inputs],
            output_names=[spec.name for spec in definition.outputs],
            dynamic_shapes=_dynamic_shapes(definition),
            verbose=False,
        )
        _empty_initializers(program.model, dict(module.named_parameters()).keys())
        program.optimize()
    model = program.model
    for value, spec in zip(
        (*model.graph.inputs, *model.graph.outputs), (*definition.inputs, *definition.outputs), strict=True
    ):
        if value.name != spec.name:
            raise RuntimeError(f"{definition.name}: the exporter named {value.name!r} what is {spec.name!r}")
        value.meta[TRACED] = value.shape  # in torch's own symbols, as every shape inside the graph is
        value.shape = ir.Shape(spec.shape)
    _forget_origins(model)
    return model


def _without_storage(module: nn.Module) -> nn.Module:
    """A copy of a module whose parameters and buffers are on the meta device; one that is shared stays shared."""
    held: dict[int, object] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in module.parameters()
    }
    held |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
    return copy.deepcopy(module, held)


def _empty_initializers(model: ir.Model, names: Collection[str]) -> None:
    """Take the placeholders of weights out of the graph, so that no pass asks for their values."""
    for value in model.graph.initializers.values():
        held = getattr(value.const_value, "raw", None)
        if isinstance(held, torch.Tensor) and held.is_meta:
            if value.name not in names:
                raise RuntimeError(f"{value.name} has no values and is no parameter; hold it as a frozen parameter")
            value.const_value = None


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes about itself (no torchvision, deprecations inside torch, weights without values) are no
    use to anybody here.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
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
