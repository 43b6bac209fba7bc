"""The autoencoder's step to half the size: equal to the library's, without a transpose of six axes in the graph."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_dc import DCDownBlock2d

from dimrt.export.graphs.autoencoder import DownBlock
from dimrt.export.graphs.contract import Axis, GraphDefinition
from dimrt.export.graphs.weights import pieces, write_weights
from dimrt.export.graphs.write import trace
from dimrt.manifest import TensorSpec

CHANNELS = [(4, 16), (8, 16), (8, 8), (16, 8)]
"""In and out: means of 1, 2, 4 and 8 neighbours."""


@pytest.mark.parametrize(("inside", "outside"), CHANNELS)
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("shortcut", [True, False])
def test_equals_the_library(inside: int, outside: int, moves: bool, shortcut: bool) -> None:
    block = made(inside, outside, moves, shortcut)
    x = torch.randn(1, inside, 6, 10)
    torch.testing.assert_close(DownBlock(block)(x), block(x))


@pytest.mark.parametrize(("inside", "outside"), CHANNELS)
def test_in_a_graph(inside: int, outside: int, tmp_path: Path) -> None:
    block = made(inside, outside, moves=True, shortcut=True)
    sides = {axis: Axis(2 * size, 2 * torch.export.Dim(axis, min=1, max=64)) for axis, size in (("h", 3), ("w", 5))}
    definition = GraphDefinition(
        name="encode",
        module=DownBlock(block),
        inputs=(TensorSpec("x", "float32", (1, inside, "h", "w")),),
        outputs=(TensorSpec("y", "float32", (1, outside, "h/2", "w/2")),),
        axes=sides,
    )
    model = trace(definition)
    assert all(len(node.attributes["perm"].as_ints()) < 6 for node in model.graph if node.op_type == "Transpose")
    write_weights(model, pieces(definition, model), tmp_path / "block.onnx")
    session = ort.InferenceSession(tmp_path / "block.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(1, inside, 8, 4)
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], block(x).numpy(), atol=1e-5)


def made(inside: int, outside: int, moves: bool, shortcut: bool) -> DCDownBlock2d:
    torch.manual_seed(0)
    return DCDownBlock2d(inside, outside, downsample=moves, shortcut=shortcut).eval().requires_grad_(False)
