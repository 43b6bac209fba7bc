"""Scaling what enters a site by 1 / s, exactly: in the norm or the weight that makes it, else by a product of its own.

| graph | products | who takes up 1 / s |
|---|---|---|
| vision | qkv; gate and up | the RMS norm before them |
| | down | up (its output channels) |
| | out, merge_in, merge_out | a Mul |
| language | query, key and value; gate and up | the RMS norm before them |
| | down | up |
| | out | value (heads that share a value head share s) |
| | head | a Mul: the norm's output is also the graph's |
| connector | first, second | a Mul |
| context | all keys and values together | the RMS norm before them |
| | first, second | a Mul |
| step | query, key and value; expand | the modulation: two rows of the layer norm, not the activation |
| | out | value |
| | contract | the depthwise convolution's first half, which the second half gates |
| | cross_query, cross_out | a Mul |
"""

from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from dimrt.export.precision.sites import Site, linear_producer, norm_before, shared_heads
from dimrt.export.precision.store import TORCH_TYPES, Store


def tied_channels(model: ir.Model, graph: str, site: Site) -> Tensor | None:
    """Channels of the input that must share a factor, because the weight that will take it up makes them together."""
    producer = linear_producer(graph, site, model)
    name = f"{producer}.weight"
    if producer is None or name not in model.graph.initializers:
        return None
    rows = int(site.products[0].node.inputs[1].shape[0])
    return shared_heads(rows, int(model.graph.initializers[name].shape[1]), model)


def absorb(model: ir.Model, store: Store, graph: str, site: Site, factors: Tensor) -> None:
    """x / s on the way in, s W in the weights. x is divided where it is made, if that is a norm or another weight."""
    for product in site.products:
        store.change(product.name, partial(torch.mul, factors[:, None]))
    norm, producer = norm_before(site), linear_producer(graph, site, model)
    if norm is not None:
        _scale_norm(model, store, norm, factors)
    elif producer is not None:
        _scale_producer(model, store, producer, factors, tied_channels(model, graph, site))
    else:
        _scale_value(model, store, site, factors)


def _scale_norm(model: ir.Model, store: Store, norm: ir.Node, factors: Tensor) -> None:
    """Divide a norm's weight and bias; where they are computed (modulation), a product of one row does it."""
    for index, part in enumerate(norm.inputs[1:], 1):
        if part is None:
            continue
        if part.name in model.graph.initializers and len(part.uses()) == 1:
            store.change(str(part.name), _divide(factors))
        else:
            norm.replace_input_with(index, _times(model, store, norm, part, factors))


def _scale_producer(model: ir.Model, store: Store, producer: str, factors: Tensor, tie: Tensor | None) -> None:
    """Divide the output channels of a weight, and its bias."""
    if producer.endswith(".depthwise"):
        _scale_depthwise(model, store, producer, factors)
        return
    columns = int(model.graph.initializers[f"{producer}.weight"].shape[1])
    if tie is not None:
        factors = torch.empty(columns).scatter_(0, tie, factors)
    for name in (f"{producer}.weight", f"{producer}.bias"):
        if name in model.graph.initializers:
            store.change(name, _divide(factors))


def _scale_depthwise(model: ir.Model, store: Store, name: str, factors: Tensor) -> None:
    """Divide the first half of a depthwise convolution's channels; the second half is the gate."""
    both = torch.cat([factors, torch.ones_like(factors)])
    store.change(name, _divide(both[:, None, None, None]))
    if f"{name}_bias" in model.graph.initializers:
        store.change(f"{name}_bias", _divide(both))


def _scale_value(model: ir.Model, store: Store, site: Site, factors: Tensor) -> None:
    """A product of its own on the activation, where nothing before it can take up the factors."""
    scaled = _times(model, store, site.products[0].node, site.value, factors)
    for product in site.products:
        product.node.replace_input_with(0, scaled)


def _times(model: ir.Model, store: Store, before: ir.Node, value: ir.Value, factors: Tensor) -> ir.Value:
    """value / factors, as a product with the reciprocals."""
    dtype = value.dtype
    assert dtype is not None
    name = f"{value.name}.scaled"
    number = sum(1 for held in model.graph.initializers if held.startswith(name))
    name = f"{name}{number}" if number else name
    constant = store.add(f"{name}.by", (1 / factors).to(TORCH_TYPES[dtype]).numpy())
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    node = ir.node("Mul", [value, constant], outputs=[output], name=f"scale_{name}")
    model.graph.insert_before(before, node)
    return output


def _divide(factors: Tensor) -> partial[Tensor]:
    return partial(torch.mul, 1 / factors)
