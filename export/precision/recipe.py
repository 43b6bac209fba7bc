"""A recipe is data. The graph modules read their dtype here and write the casts themselves: the networks are
strongly typed, nothing is asked of the builder of an engine.

In every recipe these stay in float32: residual streams, layer and RMS norms, softmax, the sums of linear attention,
the timestep sinusoid, guidance and solver, latents and pixels at the graph border.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch

from dimrt.manifest import GRAPHS

DType = Literal["float32", "float16"]


@dataclass(frozen=True)
class Recipe:
    """Per graph: `dtypes` of weights and matrix products, and `limits` of the relative error against float32 torch.

    The relative error is the norm of the difference over the norm of the reference, worst over all cases.
    """

    name: str
    dtypes: Mapping[str, DType]
    limits: Mapping[str, float]

    def torch_dtype(self, graph: str) -> torch.dtype:
        """The dtype of a graph's weights."""
        return torch.float16 if self.dtypes[graph] == "float16" else torch.float32


FP32 = Recipe(
    name="fp32",
    dtypes=MappingProxyType(dict.fromkeys(GRAPHS, "float32")),
    # Seen: 1e-7 to 3e-6, from another order of float32 sums. A wrong path shows 1e-2 or more. 1e-4 lies between, with
    # room for the depth of a full-size model, whose rounding grows with the square root of its layers.
    limits=MappingProxyType(dict.fromkeys(GRAPHS, 1e-4)),
)

FP16 = Recipe(
    name="fp16",
    dtypes=MappingProxyType(dict.fromkeys(GRAPHS, "float16")),
    # Half's rounding is 4.9e-4 for each weight and activation; over layers it adds up as a random walk. Seen on models
    # of 3 to 8 layers: 2e-4 to 2e-3. The limits leave three times that, the growth from 8 layers to 36 with a margin.
    # An overflow shows as inf or nan and fails whatever the limit.
    limits=MappingProxyType(
        {
            "vision": 5e-3,
            "language": 1e-2,
            "connector": 2e-3,
            "context": 2e-3,
            "step": 1e-2,
            "encode": 5e-3,
            "decode": 7e-3,
        }
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (FP32, FP16)})
