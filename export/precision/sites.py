"""Where a traced graph multiplies by a weight, and who in it can take up a scaling of what enters."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor

NORMS = ("RMSNormalization", "LayerNormalization")
LINEAR_PRODUCERS: dict[str, dict[str, str]] = {
    "vision": {".mlp.down": ".mlp.up"},
    "language": {".mlp.down": ".mlp.up", ".out": ".value"},
    "step": {".out": ".value", ".contract": ".depthwise"},
}
"""Products whose input is linear in the output of another weight, channel by channel: gated(x) * up x, attention's mean
of values, and the first half of the depthwise convolution, which the second half gates. Factors go into that weight."""


@dataclass(frozen=True)
class Product:
    """A MatMul by a weight [in, out]; `name` is the initializer's."""

    node: ir.Node
    name: str

    @property
    def stem(self) -> str:
        """The layer's name: the weight's without its last part."""
        return self.name.removesuffix(".weight")


@dataclass(frozen=True)
class Site:
    """A value and all products by weights that it enters: they share its scaling and its quantization."""

    value: ir.Value
    products: tuple[Product, ...]


def find_sites(model: ir.Model) -> list[Site]:
    """All sites, in the order of the graph. A weight that is used twice, or not by a MatMul alone, is in none."""
    found: dict[int, tuple[ir.Value, list[Product]]] = {}
    for node in model.graph:
        if node.op_type != "MatMul" or node.domain:
            continue
        value, weight = node.inputs
        if value is None or weight is None or weight.name not in model.graph.initializers:
            continue
        if weight.shape is not None and len(weight.shape) == 2 and len(weight.uses()) == 1:
            found.setdefault(id(value), (value, []))[1].append(Product(node, weight.name))
    return [Site(value, tuple(products)) for value, products in found.values()]


def widths(model: ir.Model) -> dict[str, int]:
    """Input channels of every weight in a site, by name."""
    shapes = {product.name: product.node.inputs[1].shape for site in find_sites(model) for product in site.products}
    return {name: int(shape[0]) for name, shape in shapes.items()}


def norm_before(site: Site) -> ir.Node | None:
    """The norm whose output enters the site and nothing else, through casts only."""
    value = site.value
    while True:
        node = value.producer()
        if node is None or value.is_graph_output():
            return None
        if node.op_type in NORMS:
            break
        if node.op_type != "Cast":
            return None
        value = node.inputs[0]
        if len(value.uses()) > 1:
            return None
    products = {id(product.node) for product in site.products}
    users = {id(use.node) for use in site.value.uses()}
    return node if users == products else None


def linear_producer(graph: str, site: Site, model: ir.Model) -> str | None:
    """Stem of the weight that the site's input is linear in ("layers.0.mlp.up"), where the table has one."""
    if len(site.products) != 1:
        return None
    stem = site.products[0].stem
    for ending, producer in LINEAR_PRODUCERS.get(graph, {}).items():
        if stem.endswith(ending):
            found = stem.removesuffix(ending) + producer
            if found in model.graph.initializers or f"{found}.weight" in model.graph.initializers:
                return found
    return None


def shared_heads(rows: int, columns: int, model: ir.Model) -> Tensor | None:
    """Which of a value projection's `columns` channels each of the `rows` attention outputs is a mean of.

    With grouped queries several heads read one value head, so those channels must share a factor. None when every
    channel has its own.
    """
    if rows == columns:
        return None
    width = next(int(value.shape[3]) for value in model.graph.inputs if value.name == "value_0")
    heads, repeat = torch.arange(rows // width), rows // columns
    return ((heads // repeat)[:, None] * width + torch.arange(width)).flatten()


def names_of(site: Site) -> Iterator[str]:
    """Names of a site's weights."""
    return (product.name for product in site.products)
