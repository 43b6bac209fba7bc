"""The seven graphs as torch modules over a DIM's weights, and their export to ONNX."""

from dimrt.export.graphs import autoencoder, connector, context, language, step, vision
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.model.assembly import DIM
from dimrt.export.model.config import DIMConfig
from dimrt.export.precision import Recipe
from dimrt.manifest import GRAPHS


def graph_names(config: DIMConfig) -> tuple[str, ...]:
    """The graphs of a bundle, in the order of the chain: a generate bundle has no `encode`."""
    return tuple(name for name in GRAPHS if name != "encode" or config.painter.task == "edit")


def define(name: str, dim: DIM, recipe: Recipe) -> GraphDefinition:
    """One graph of a DIM in a recipe's precision. In float32 the weights are shared with `dim`, not copied."""
    dtype = recipe.torch_dtype(name)
    resolution = dim.config.resolution
    side = resolution.side if resolution.aspect == "square" else None
    match name:
        case "vision":
            return vision.definition(dim.designer, dtype)
        case "language":
            return language.definition(dim.designer, dtype)
        case "connector":
            return connector.definition(dim.connector, dtype)
        case "context":
            return context.definition(dim.painter, dtype)
        case "step":
            return step.definition(dim.painter, dtype)
        case "encode":
            return autoencoder.encode_definition(dim.autoencoder, dtype, side)
        case "decode":
            return autoencoder.decode_definition(dim.autoencoder, dtype, side)
    raise ValueError(f"no graph is called {name!r}")
