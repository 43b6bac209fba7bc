"""The painter: diffusers' SANA transformer with DIM's facts.

What DIM does differently from the class's defaults, all set here by attributes:
- timesteps are truncated toward zero to integers before the embedding;
- the cross-attention's q/k norms use eps 1e-6 (the self-attention's keep 1e-5);
- the source latent joins the noisy latent on the channel axis, noise first;
- there is no positional embedding unless `position_side` asks for one;
- a null condition table stands beside the transformer, for the unconditional row of guidance.

The self-attention's denominator is guarded by 1e-15 in diffusers and by 1e-8 in the original; the sums it guards are
far larger, so both give the same float32 results on real rows (an all-zero row gives 0 in both).
"""

import torch
from diffusers import SanaTransformer2DModel
from torch import Tensor, nn

from dimrt.errors import InputError
from dimrt.export.model.config import PainterConfig

CROSS_NORM_EPS = 1e-6


class Painter(nn.Module):
    """SANA transformer and null condition. Call it for the raw output, or `data` for the predicted clean latent."""

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        positions = {} if config.position_side is None else {"interpolation_scale": 1.0}
        self.transformer = SanaTransformer2DModel(
            in_channels=config.in_channels,
            out_channels=config.latent_channels,
            num_attention_heads=width // config.linear_head_dim,
            attention_head_dim=config.linear_head_dim,
            num_layers=config.depth,
            num_cross_attention_heads=config.cross_heads,
            cross_attention_head_dim=width // config.cross_heads,
            cross_attention_dim=width,
            caption_channels=config.caption_channels,
            mlp_ratio=config.mlp_ratio,
            sample_size=(config.position_side or 1) * config.patch_size,
            patch_size=config.patch_size,
            qk_norm="rms_norm_across_heads",
            **positions,
        )
        for block in self.transformer.transformer_blocks:
            block.attn2.norm_q.eps = block.attn2.norm_k.eps = CROSS_NORM_EPS
        self.null_condition = nn.Parameter(
            torch.randn(config.max_condition, config.caption_channels) / config.caption_channels**0.5
        )

    def forward(
        self,
        latent: Tensor,
        timestep: Tensor,
        condition: Tensor,
        mask: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """Raw network output [B,C,h,w].

        latent [B,C,h,w]; timestep [B] or [] (1000 * sigma, truncated here); condition [B,N,caption]; mask [B,N] or
        [1,N], 1 for rows that count (None: all); source [B,C,h,w] or [1,C,h,w], for an edit painter only.
        """
        batch = latent.shape[0]
        if (source is not None) != (self.config.task == "edit"):
            needs = "needs a source latent" if self.config.task == "edit" else "takes no source latent"
            raise InputError(f"a painter of task {self.config.task!r} {needs}")
        if source is not None:
            latent = torch.cat([latent, source.expand(batch, -1, -1, -1)], dim=1)
        if mask is not None:
            mask = mask.expand(batch, -1)
        timestep = timestep.trunc().expand(batch)
        return self.transformer(latent, condition, timestep, encoder_attention_mask=mask, return_dict=False)[0]

    def data(
        self,
        latent: Tensor,
        sigma: Tensor,
        timestep: Tensor,
        condition: Tensor,
        mask: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """Predicted clean latent x0 [B,C,h,w]: latent - sigma * output, or source + output for a residual painter.

        sigma [B] or []: the exact noise level, never truncated. Other arguments as in `forward`.
        """
        output = self(latent, timestep, condition, mask, source)
        if self.config.prediction == "residual":
            return source + output
        return latent - sigma.reshape(-1, 1, 1, 1) * output
