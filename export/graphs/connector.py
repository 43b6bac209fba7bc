"""`connector`: hidden states of the designer -> condition of the painter (Linear, exact GELU, Linear)."""

import torch
from torch import Tensor, nn
from torch.export import Dim

from dimrt.export.graphs.contract import Axis, GraphDefinition, name_of
from dimrt.export.graphs.ops import Dense
from dimrt.manifest import TensorSpec


class Connector(nn.Module):
    """The MLP over a connector's weights."""

    def __init__(self, connector: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.gelu, self.second = Dense.of(connector[0], dtype), nn.GELU(), Dense.of(connector[2], dtype)

    def forward(self, hidden: Tensor) -> Tensor:
        """[1,N,D] -> [1,N,Ccap]."""
        return self.second(self.gelu(self.first(hidden)))


def definition(connector: nn.Sequential, dtype: torch.dtype) -> GraphDefinition:
    """hidden [1,N,D] -> condition [1,N,Ccap]."""
    t = name_of(dtype)
    return GraphDefinition(
        name="connector",
        module=Connector(connector, dtype),
        inputs=(TensorSpec("hidden", t, (1, "rows", connector[0].in_features)),),
        outputs=(TensorSpec("condition", t, (1, "rows", connector[2].out_features)),),
        axes={"rows": Axis(5, Dim("rows", min=1, max=65536))},
    )
