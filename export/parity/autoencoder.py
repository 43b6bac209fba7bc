"""Connector and autoencoder parity."""

from collections.abc import Iterator

import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn

from dimrt.export.parity.items import AUTOENCODER, CONNECTOR, Arrays, Item, compare
from dimrt.export.parity.reference import Reference


def connector_items(reference: Reference) -> Iterator[Item]:
    """The two-layer projector."""
    arrays = reference.arrays("projector_tiny")
    with torch.no_grad():
        out = reference.any.connector(torch.from_numpy(arrays["x"]))
    yield compare("connector", out, arrays["out"], CONNECTOR)


def autoencoder_items(reference: Reference) -> Iterator[Item]:
    """Encoding and decoding of every case, with each stage's output where the fixture has it."""
    arrays = reference.arrays("autoencoder_tiny")
    for case in arrays.cases(".image"):
        yield from _case_items(reference.any.autoencoder, arrays, case)


def encode(autoencoder: AutoencoderDC, pixels: Tensor) -> Tensor:
    """Scaled latent of pixels [B,3,H,W] in [-1, 1]."""
    return autoencoder.encode(pixels).latent * autoencoder.config.scaling_factor


def decode(autoencoder: AutoencoderDC, latent: Tensor) -> Tensor:
    """Pixels [B,3,H,W] of a scaled latent, not clamped."""
    return autoencoder.decode(latent / autoencoder.config.scaling_factor).sample


def _case_items(autoencoder: AutoencoderDC, arrays: Arrays, case: str) -> Iterator[Item]:
    kept: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _args, out, name=name: kept.__setitem__(name, out))
        for name, module in _stages(autoencoder).items()
    ]
    with torch.no_grad():
        latent = encode(autoencoder, torch.from_numpy(arrays[f"{case}.image"]))
        scaled = arrays[f"{case}.latent_scaled"]
        yield compare(f"autoencoder {case} scaled latent", latent, scaled, AUTOENCODER)
        if f"{case}.encoded" in arrays:
            raw = latent / autoencoder.config.scaling_factor
            yield compare(f"autoencoder {case} encoded", raw, arrays[f"{case}.encoded"], AUTOENCODER)
        for given, result in (("random_latent_scaled", "random_decoded"), ("latent_scaled", "decoded")):
            if f"{case}.{result}" in arrays:
                pixels = decode(autoencoder, torch.from_numpy(arrays[f"{case}.{given}"]))
                yield compare(f"autoencoder {case} {result}", pixels, arrays[f"{case}.{result}"], AUTOENCODER)
    for hook in hooks:
        hook.remove()
    for key in arrays.below(f"{case}.act."):
        yield compare(f"autoencoder {case} {key}", kept[key], arrays[f"{case}.act.{key}"], AUTOENCODER)


def _stages(autoencoder: AutoencoderDC) -> dict[str, nn.Module]:
    down = {f"enc.down{index}": stage for index, stage in enumerate(autoencoder.encoder.down_blocks)}
    up = {f"dec.up{index}": stage for index, stage in enumerate(autoencoder.decoder.up_blocks)}
    return {**down, **up}
