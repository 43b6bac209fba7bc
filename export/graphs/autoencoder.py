"""`encode` and `decode`: the library's own encoder and decoder, made safe to export.

Replaced in a copy is what the export demands: norms (float32, one node), linear attention (float32 sums, a floor in
place of a tiny eps), linear layers (weights as [in, out]); and what ONNX has better operators for: going down a size.
"""

import copy

import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC
from diffusers.models.attention_processor import SanaMultiscaleLinearAttention
from diffusers.models.autoencoders.autoencoder_dc import DCDownBlock2d
from diffusers.models.normalization import RMSNorm
from torch import Tensor, nn
from torch.export import Dim

from dimrt.export.graphs.contract import Axis, GraphDefinition
from dimrt.export.graphs.ops import Dense, RmsNorm, frozen, linear_attention
from dimrt.manifest import TensorSpec


class SameTypeNorm(RmsNorm):
    """RMS norm in float32 whose result has the input's dtype, as the library's blocks expect."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape and dtype."""
        return super().forward(x).to(x.dtype)


class LinearAttention:
    """Attention processor: the linear form for every size.

    The library turns to the quadratic form of the same attention on tiny maps; both are equal in exact arithmetic.
    """

    def __call__(self, attn: SanaMultiscaleLinearAttention, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> the same shape."""
        rows = x.movedim(1, -1)
        qkv = torch.cat([attn.to_q(rows), attn.to_k(rows), attn.to_v(rows)], dim=3).movedim(-1, 1)
        scales = torch.cat([qkv, *(scale(qkv) for scale in attn.to_qkv_multiscale)], dim=1)
        heads = scales.flatten(2).unflatten(1, (-1, 3 * attn.attention_head_dim)).transpose(2, 3)
        seen = linear_attention(*heads.chunk(3, dim=3)).to(x.dtype)
        joined = seen.transpose(2, 3).flatten(1, 2).unflatten(2, (x.shape[2], x.shape[3]))
        out = attn.norm_out(attn.to_out(joined.movedim(1, -1))).movedim(-1, 1)
        return out + x if attn.residual_connection else out


class DownBlock(nn.Module):
    """The library's step to half the size: a convolution, and beside it the pixels moved into channels and averaged.

    What is averaged needn't be moved first. ONNX Runtime's transpose of six axes, which moving is otherwise, takes five
    times as long as its SpaceToDepth (256 channels of 256 x 256).
    """

    def __init__(self, block: DCDownBlock2d) -> None:
        super().__init__()
        self.conv, self.moves, self.shortcut = block.conv, block.downsample, block.shortcut
        self.factor, self.group = block.factor, block.group_size

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> [B,C',h/f,w/f]."""
        half = self.conv(x)
        half = pixels_to_channels(half, self.factor) if self.moves else half
        return half + self.averaged(x) if self.shortcut else half

    def averaged(self, x: Tensor) -> Tensor:
        """Means of `group` neighbours in [B, C f f, h/f, w/f], whose channels count channel, row and column in turn."""
        f = self.factor
        if self.group == f * f:
            return F.avg_pool2d(x, f)
        if self.group == f:
            return F.avg_pool2d(x, (1, f)).unflatten(2, (-1, f)).transpose(2, 3).flatten(1, 2)
        moved = pixels_to_channels(x, f)
        return moved if self.group == 1 else moved.unflatten(1, (-1, self.group)).mean(2)


def pixels_to_channels(x: Tensor, factor: int) -> Tensor:
    """`pixel_unshuffle`: [B,C,h,w] -> [B, C f f, h/f, w/f]; in a graph SpaceToDepth and a swap of whole planes."""
    if not torch.compiler.is_exporting():
        return F.pixel_unshuffle(x, factor)
    batch, channels, height, width = x.shape
    shape = (batch, factor * factor * channels, height // factor, width // factor)
    attributes = {"blocksize": factor}
    blocks = torch.onnx.ops.symbolic("SpaceToDepth", (x,), attrs=attributes, dtype=x.dtype, shape=shape, version=13)
    blocks = blocks.to(x.device)  # what the exporter makes stands on the CPU, the traced module on no device
    return blocks.unflatten(1, (factor * factor, channels)).transpose(1, 2).flatten(1, 2)


def exportable(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of an encoder or decoder in `dtype`, with norms, linear layers and attention replaced."""
    module = copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RMSNorm):
                setattr(parent, name, SameTypeNorm(child.weight, child.eps, child.bias))
            elif isinstance(child, nn.Linear):
                setattr(parent, name, Dense.of(child, dtype))
            elif isinstance(child, DCDownBlock2d):
                setattr(parent, name, DownBlock(child))
        if isinstance(parent, SanaMultiscaleLinearAttention):
            parent.processor = LinearAttention()
        if isinstance(parent, nn.Conv2d):
            convert(parent, dtype)
    return module.requires_grad_(False).eval()


def convert(convolution: nn.Conv2d, dtype: torch.dtype) -> None:
    """Give a convolution its weights in `dtype`."""
    convolution.weight = frozen(convolution.weight, dtype)
    if convolution.bias is not None:
        convolution.bias = frozen(convolution.bias, dtype)


class Encode(nn.Module):
    """Pixels to the scaled latent."""

    def __init__(self, autoencoder: AutoencoderDC, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = exportable(autoencoder.encoder, dtype)
        self.scale, self.dtype = autoencoder.config.scaling_factor, dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """[1,3,H,W] in [-1,1] -> [1,C,H/f,W/f]."""
        return self.encoder(pixels.to(self.dtype)).float() * self.scale


class Decode(nn.Module):
    """Scaled latent to pixels."""

    def __init__(self, autoencoder: AutoencoderDC, dtype: torch.dtype) -> None:
        super().__init__()
        self.decoder = exportable(autoencoder.decoder, dtype)
        self.scale, self.dtype = 1.0 / autoencoder.config.scaling_factor, dtype

    def forward(self, latent: Tensor) -> Tensor:
        """[1,C,h,w] -> [1,3,h*f,w*f], not clamped."""
        return self.decoder((latent * self.scale).to(self.dtype)).float()


def encode_definition(autoencoder: AutoencoderDC, dtype: torch.dtype, side: int | None) -> GraphDefinition:
    """pixels float32 [1,3,H,W] in [-1,1], sides multiples of the factor -> scaled latent float32.

    `side` fixes both sides in pixels, for a painter that knows one size only: shapes then fold into constants.
    """
    pixels, latent, axes = _sizes(autoencoder, side, of_pixels=True)
    return GraphDefinition(
        name="encode",
        module=Encode(autoencoder, dtype),
        inputs=(TensorSpec("pixels", "float32", pixels),),
        outputs=(TensorSpec("latent", "float32", latent),),
        axes=axes,
    )


def decode_definition(autoencoder: AutoencoderDC, dtype: torch.dtype, side: int | None) -> GraphDefinition:
    """Scaled latent float32 -> pixels float32, nominally in [-1,1]. `side` as for `encode_definition`."""
    pixels, latent, axes = _sizes(autoencoder, side, of_pixels=False)
    return GraphDefinition(
        name="decode",
        module=Decode(autoencoder, dtype),
        inputs=(TensorSpec("latent", "float32", latent),),
        outputs=(TensorSpec("pixels", "float32", pixels),),
        axes=axes,
    )


Shape = tuple[int | str, ...]


def _sizes(autoencoder: AutoencoderDC, side: int | None, of_pixels: bool) -> tuple[Shape, Shape, dict[str, Axis]]:
    """Shapes of pixels and latent, and the axes of the one that is the input (the other's follow from it)."""
    factor = int(autoencoder.spatial_compression_ratio)
    channels, latents = autoencoder.config.in_channels, autoencoder.config.latent_channels
    if side is not None:
        return (1, channels, side, side), (1, latents, side // factor, side // factor), {}
    unit = factor if of_pixels else 1
    axes = {
        "height": Axis(3 * unit, unit * Dim("height", min=1, max=4096)),
        "width": Axis(4 * unit, unit * Dim("width", min=1, max=4096)),
    }
    if of_pixels:
        return (1, channels, "height", "width"), (1, latents, f"height/{factor}", f"width/{factor}"), axes
    return (1, channels, f"height*{factor}", f"width*{factor}"), (1, latents, "height", "width"), axes
