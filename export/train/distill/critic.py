"""The critic of adversarial distillation: small heads on what the frozen teacher's blocks see of a noised latent.

LADD (Sauer et al. 2024, arXiv 2403.12015, section 3) as SANA-Sprint uses it (arXiv 2503.09641): hinge
loss, real latents are the data's, and pictures beside a wrong condition count as painted ones. Heads here are 2-D
convolutions on normalized features, without the spectral norm of the paper, whose running vectors a resumed run would
have to carry.
"""

from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional

from dimrt.errors import InputError
from dimrt.export.model.painter import Painter
from dimrt.export.train.distill.levels import noised, whole_timesteps
from dimrt.export.train.distill.network import Scene, predict
from dimrt.export.train.distill.trigflow import draw_angles, to_sigma


class CriticSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`weight` of the adversarial term, 0 for none. `blocks` are those of the teacher whose output the heads see, none
    for four spread over its depth; `mean` and `spread` are of log tan t of the noise that pictures are seen through."""

    weight: Annotated[float, Meta(ge=0)] = 0.5
    blocks: tuple[int, ...] = ()
    width: Annotated[int, Meta(ge=1)] = 256
    mean: float = 0.1
    spread: Annotated[float, Meta(gt=0)] = 1.0
    misplaced: bool = True
    """Whether real pictures beside another example's condition count as painted ones."""


class Head(nn.Module):
    """Features of one block to a score for each token."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(features, width, 1)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.score = nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, N, D] on a grid of `size` tokens -> [B, N]."""
        tokens = functional.layer_norm(features.float(), features.shape[-1:]).transpose(1, 2).unflatten(2, size)
        hidden = functional.leaky_relu(self.enter(tokens), 0.2)
        hidden = hidden + functional.leaky_relu(self.look(hidden), 0.2)
        return self.score(hidden).flatten(1)


class Critic(nn.Module):
    """Heads on a frozen painter, which is handed in at every call and isn't part of the module."""

    def __init__(self, painter: Painter, settings: CriticSettings) -> None:
        super().__init__()
        depth = painter.config.depth
        self.blocks = settings.blocks or tuple(sorted({depth // 10, depth * 2 // 5, depth * 7 // 10, depth - 1}))
        if not all(0 <= block < depth for block in self.blocks):
            raise InputError(f"distill.critic.blocks {list(self.blocks)}: the painter has blocks 0 to {depth - 1}")
        self.settings, self.patch = settings, painter.config.patch_size
        self.heads = nn.ModuleList(Head(painter.config.hidden_size, settings.width) for _ in self.blocks)

    def forward(self, painter: Painter, latent: Tensor, sigma: Tensor, scene: Scene) -> Tensor:
        """Scores [B, tokens of all heads] of noised latents; differentiable in the latent."""
        seen: list[Tensor] = []
        blocks = painter.transformer.transformer_blocks
        hooks = [
            blocks[block].register_forward_hook(lambda module, given, output: seen.append(output))
            for block in self.blocks
        ]
        try:
            predict(painter, latent, sigma, scene)
        finally:
            for hook in hooks:
                hook.remove()
        size = latent.shape[2] // self.patch, latent.shape[3] // self.patch
        return torch.cat([head(features, size) for head, features in zip(self.heads, seen, strict=True)], 1)

    def score(self, painter: Painter, painted: Tensor, scene: Scene, generator: torch.Generator) -> Tensor:
        """How real the student's latents look; the student raises it."""
        return self(painter, *self.veiled(painted, generator), scene).mean()

    def judge(
        self, painter: Painter, painted: Tensor, real: Tensor, scene: Scene, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Hinge loss, and the mean scores of real and painted latents."""
        false = self(painter, *self.veiled(painted, generator), scene)
        true = self(painter, *self.veiled(real, generator), scene)
        figures = {"real": true.detach().mean(), "painted": false.detach().mean()}
        if self.settings.misplaced and len(real) > 1:
            false = torch.cat([false, self(painter, *self.veiled(real, generator), scene.rolled())])
        return (functional.relu(1 - true).mean() + functional.relu(1 + false).mean()) / 2, figures

    def veiled(self, latent: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The latent through noise of a random level, and the level: the heads judge at every scale."""
        angles = draw_angles(len(latent), self.settings.mean, self.settings.spread, generator)
        return noised(latent, whole_timesteps(to_sigma(angles)), generator)
