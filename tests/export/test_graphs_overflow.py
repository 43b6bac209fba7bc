"""Half precision where plain half overflows, and rows where the linear attention has nothing to attend to."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from diffusers import AutoencoderDC

from dimrt.export.graphs import autoencoder, step
from dimrt.export.graphs.check import errors
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.ops import RmsNorm, linear_attention
from dimrt.export.graphs.write import write_graph
from dimrt.export.model.config import PainterConfig
from dimrt.export.model.painter import Painter
from dimrt.export.precision import FP16

CONFIG = PainterConfig(
    task="generate",
    latent_channels=4,
    hidden_size=32,
    depth=2,
    cross_heads=2,
    linear_head_dim=16,
    caption_channels=24,
    max_condition=8,
)
SIDE = 24


def run(definition: GraphDefinition, folder: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    path = folder / f"{definition.name}.onnx"
    write_graph(definition, path)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options).run(None, feeds)


@pytest.fixture
def hard_painter() -> Painter:
    """Block 0 attends to nothing (all queries are zero); block 1 has queries, keys and values far from unit size."""
    torch.manual_seed(0)
    painter = Painter(CONFIG).eval().requires_grad_(False)
    dead, large = (block.attn1 for block in painter.transformer.transformer_blocks)
    dead.norm_q.weight.zero_()
    large.norm_q.weight.mul_(40)
    large.norm_k.weight.mul_(40)
    large.to_v.weight.mul_(40)
    return painter


def test_large_queries_keys_and_values_stay_finite_in_half(hard_painter: Painter, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(1, 4, SIDE, SIDE, generator=generator)
    condition = torch.randn(1, 5, 24, generator=generator)
    blocks = hard_painter.transformer.transformer_blocks
    inside: dict[str, torch.Tensor] = {}
    for name in ("norm_q", "norm_k", "to_v"):
        getattr(blocks[1].attn1, name).register_forward_hook(lambda _m, _i, out, name=name: inside.update({name: out}))
    context = []
    for block in blocks:
        block.attn2.to_v.register_forward_hook(lambda _m, _i, out: context.append(out))
        block.attn2.norm_k.register_forward_hook(lambda _m, _i, out: context.append(out))
    want = hard_painter.data(latent, torch.tensor(0.9), torch.tensor(900.0), condition)

    query, key, value = (x.unflatten(-1, (2, 16)).transpose(1, 2).relu() for x in inside.values())
    assert not torch.isfinite(query.half() @ (key.transpose(-1, -2) @ value).half()).all(), "not hard enough"

    rows = [context[i ^ 1].unflatten(-1, (2, 16)).transpose(1, 2) for i in range(4)]
    _, data = run(
        step.definition(hard_painter, torch.float16),
        tmp_path,
        latent=latent.numpy(),
        previous=np.zeros_like(latent.numpy()),
        context=torch.stack(rows).half().numpy(),
        timestep=np.array([900], np.float32),
        guidance=np.array([1], np.float32),
        coefficients=np.array([0.9, 0, 1, 0], np.float32),
    )
    assert errors(data, want.numpy())[1] < FP16.limits["step"]


def test_a_dead_autoencoder_attention_is_zero_and_not_nan(tmp_path: Path) -> None:
    """The library's eps of 1e-15 would be deleted by the exporter, and 0/0 would blacken the whole picture."""
    torch.manual_seed(0)
    model = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 16),
        decoder_block_out_channels=(8, 16),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
    ).eval()
    attention = next(m for m in model.encoder.modules() if hasattr(m, "to_qkv_multiscale"))
    with torch.no_grad():
        attention.to_q.weight.zero_()
        pixels = torch.rand(1, 3, 16, 24) * 2 - 1
        want = model.encode(pixels).latent.numpy()
    (latent,) = run(autoencoder.encode_definition(model, torch.float32, None), tmp_path, pixels=pixels.numpy())
    assert np.isfinite(want).all()
    np.testing.assert_allclose(latent, want, atol=1e-4, rtol=0)


def test_linear_attention_ignores_a_scale_on_the_keys() -> None:
    """What makes its sums so large carries no information: the exact result is scale-free in k."""
    query, key, value = torch.rand(3, 1, 2, 50, 8).unbind(0)
    torch.testing.assert_close(linear_attention(query, key * 1000, value), linear_attention(query, key, value))


def test_an_eps_the_exporter_would_delete_is_refused() -> None:
    with pytest.raises(ValueError, match="eps"):
        RmsNorm(torch.ones(4), eps=1e-9)
