"""Nano's autoencoder: diffusers' AutoencoderDC, initialised so that it computes an exact PCA patch code.

A principal component code of 8x8 patches is linear, and AutoencoderDC can represent it: pixel (un)shuffle shortcuts
carry the pixels unchanged between 128 px and the 256-channel stage, the shuffle convolutions and residual blocks start
at zero, and the two outer convolutions hold the basis. The decoder's last norm and ReLU are made harmless by one large
constant channel (the norm's root mean square is then constant) and by a bias that keeps every value positive.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_dc import DCDownBlock2d, DCUpBlock2d, ResBlock
from numpy.typing import NDArray
from torch import Tensor, nn

FACTOR = 8
CHANNELS = 32
WIDTHS = (16, 16, 64, 256)
LAYERS = (0, 1, 1, 0)

CONSTANT = 128.0
"""Value of the constant channel: with pixels in [-1, 1] the root mean square then varies by less than 0.04 %."""
CONSTANT_CHANNEL = 12
"""First of the four channels that pixel unshuffling leaves empty: 12 of 16 hold the RGB pixels of a 2x2 square."""
LIFT = 2.0
"""Added before the ReLU and taken off after it: values down to -2 pass."""
SPREAD = 0.6
"""Latents are divided by std**SPREAD: strong components stay stronger, yet weak ones are not lost in training."""


@dataclass(frozen=True)
class Basis:
    """PCA of 8x8 patches with values in [-1, 1], flattened as (y, x, channel).

    mean [192]; components [192, k], orthonormal columns; scale [k]: latent = components.T @ (patch - mean) / scale.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    scale: NDArray[np.float64]


def fit_basis(pictures: Iterable[NDArray[np.uint8]], channels: int = CHANNELS) -> Basis:
    """The basis of all patches of the pictures (uint8 [h, w, 3], sides multiples of 8).

    Scales make the latents' mean variance 1. Signs are fixed (largest entry positive), so that equal pictures give
    equal bases.
    """
    size = FACTOR * FACTOR * 3
    count, total, square = 0, np.zeros(size), np.zeros((size, size))
    for picture in pictures:
        patches = _patches(picture)
        count += len(patches)
        total += patches.sum(0)
        square += patches.T @ patches
    mean = total / count
    variance, vectors = np.linalg.eigh(square / count - np.outer(mean, mean))
    variance, vectors = variance[::-1][:channels], vectors[:, ::-1][:, :channels]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(channels)])
    scale = np.sqrt(variance) ** SPREAD
    scale *= np.sqrt((variance / scale**2).mean())
    return Basis(mean, vectors * signs, scale)


def project(pictures: NDArray[np.uint8], basis: Basis) -> NDArray[np.float32]:
    """Latents [n, k, h / 8, w / 8] of uint8 [n, h, w, 3], as the autoencoder gives them, at a fraction of the time."""
    count, height, width = len(pictures), pictures.shape[1] // FACTOR, pictures.shape[2] // FACTOR
    matrix = (basis.components / basis.scale).astype(np.float32)
    shift = (basis.mean @ basis.components / basis.scale).astype(np.float32)
    values = pictures.astype(np.float32) / np.float32(127.5) - 1
    grid = values.reshape(count, height, FACTOR, width, FACTOR, 3).transpose(0, 1, 3, 2, 4, 5)
    return (grid.reshape(-1, len(matrix)) @ matrix - shift).reshape(count, height, width, -1).transpose(0, 3, 1, 2)


def _patches(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = picture.shape[0] // FACTOR, picture.shape[1] // FACTOR
    values = picture.astype(np.float64) / 127.5 - 1
    grid = values.reshape(height, FACTOR, width, FACTOR, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(height * width, -1)


def autoencoder_config(channels: int = CHANNELS) -> dict[str, Any]:
    """Arguments of AutoencoderDC: factor 8, pixel shuffling both ways, no attention."""
    return {
        "latent_channels": channels,
        "encoder_block_types": "ResBlock",
        "decoder_block_types": "ResBlock",
        "encoder_block_out_channels": WIDTHS,
        "decoder_block_out_channels": WIDTHS,
        "encoder_layers_per_block": LAYERS,
        "decoder_layers_per_block": LAYERS,
        "encoder_qkv_multiscales": ((),) * 4,
        "decoder_qkv_multiscales": ((),) * 4,
        "upsample_block_type": "pixel_shuffle",
        "downsample_block_type": "pixel_unshuffle",
        "encoder_out_shortcut": False,
        "decoder_in_shortcut": False,
        "scaling_factor": 1.0,
    }


def build_autoencoder(basis: Basis) -> AutoencoderDC:
    """An AutoencoderDC that computes the basis: encode gives the scaled components, decode their reconstruction."""
    channels = len(basis.scale)
    model = AutoencoderDC(**autoencoder_config(channels))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for module in model.modules():
            if isinstance(module, ResBlock):
                _start_block(module)
        encode, decode, mean = _matrices(basis)
        _centre(model.encoder.conv_out, encode, -encode @ mean)
        _centre(model.decoder.conv_in, decode, mean)
        _pass_pixels(model)
    return model.eval()


def _start_block(block: ResBlock) -> None:
    """Random convolutions behind a zero norm weight: the block is the identity, but can still learn."""
    generator = torch.Generator().manual_seed(block.conv1.weight.shape[0])
    for conv in (block.conv1, block.conv2):
        fan_in = conv.weight[0].numel()
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * fan_in**-0.5)
    block.conv1.weight[:, CONSTANT_CHANNEL if block.conv1.weight.shape[0] == WIDTHS[1] else []] = 0


def _matrices(basis: Basis) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder matrix [k, 256], decoder matrix [256, k] and mean [256], in the channel order of three unshufflings."""
    order = torch.arange(3 * FACTOR * FACTOR).reshape(FACTOR, FACTOR, 3).permute(2, 0, 1)
    order = torch.cat([order, torch.full((1, FACTOR, FACTOR), -1)])[None].double()
    for _ in range(3):
        order = nn.functional.pixel_unshuffle(order, 2)
    order = order.flatten().long()
    used = order >= 0
    components = torch.from_numpy(basis.components)[order[used]]
    scale = torch.from_numpy(basis.scale)
    matrix = torch.zeros(len(order), len(scale), dtype=torch.float64)
    matrix[used] = components
    mean = torch.zeros(len(order), dtype=torch.float64)
    mean[used] = torch.from_numpy(basis.mean)[order[used]]
    return (matrix / scale).T, matrix * scale, mean


def _centre(conv: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    """Make a 3x3 convolution the given matrix applied at each position."""
    conv.weight[:, :, 1, 1] = matrix.to(conv.weight.dtype)
    conv.bias.copy_(bias)


def _pass_pixels(model: AutoencoderDC) -> None:
    """Let the outermost stages hand pixels through, with the constant channel around the last norm."""
    first: DCDownBlock2d = model.encoder.conv_in
    last: DCUpBlock2d = model.decoder.conv_out
    for channel in range(3):
        first.conv.weight[channel, channel, 1, 1] = 1
    model.decoder.up_blocks[1][0].conv.bias[CONSTANT_CHANNEL * 4 : CONSTANT_CHANNEL * 4 + 4] = CONSTANT
    norm = model.decoder.norm_out
    norm.weight.fill_(CONSTANT / WIDTHS[1] ** 0.5)
    norm.weight[CONSTANT_CHANNEL] = 0
    norm.bias.fill_(LIFT)
    for channel in range(CONSTANT_CHANNEL):
        last.conv.weight[channel, channel, 1, 1] = 1
        last.conv.bias[channel] = -LIFT


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(pixels: Tensor) -> NDArray[np.uint8]:
    """float [n, 3, h, w] in [-1, 1] to uint8 [n, h, w, 3], clipped and rounded."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
