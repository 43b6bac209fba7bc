"""Nano's painter starts as a copy of its source and learns from a handful of cases."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dimrt.export.nano.painter import Lesson, PainterLesson, make_painter, relative_error
from dimrt.export.train.data.batch import Batch, pad_conditions
from dimrt.export.train.hooks import Hooks
from dimrt.export.train.loop import train
from dimrt.export.train.settings import LoopSettings, OptimizerSettings


class _FewPaintings:
    """Two conditions: one leaves the picture's first channel doubled, the other negates it."""

    def __len__(self) -> int:
        return 64

    def sizes(self) -> list[tuple[int, int]]:
        return [(16, 16)] * 64

    def weights(self) -> list[float]:
        return [1.0] * 64

    def batch(self, indices: Sequence[int]) -> Batch:
        generator = torch.Generator().manual_seed(0)
        sources = torch.randn(64, 32, 16, 16, generator=generator)
        words = torch.randn(2, 5, 192, generator=generator)
        kinds = torch.tensor([index % 2 for index in indices])
        source = sources[list(indices)]
        target = source.clone()
        target[:, 0] *= torch.where(kinds == 0, 2.0, -1.0)[:, None, None]
        condition, mask = pad_conditions([words[kind] for kind in kinds], 16)
        return Batch(target, source, condition, mask, ["double" if kind == 0 else "negate" for kind in kinds])


def test_an_untrained_painter_returns_the_source():
    painter, connector = make_painter(depth=2)
    source = torch.randn(2, 32, 16, 16)
    with torch.no_grad():
        condition = connector(torch.randn(2, 16, 192))
        data = painter.data(torch.randn_like(source), torch.tensor(0.7), torch.tensor(700.0), condition, None, source)
    assert torch.equal(data, source)


def test_strength_survives_the_layer_norms():
    """With the constant channels, a token twice as strong stays nearly twice as strong after the first norm."""
    painter, _ = make_painter(depth=1)
    net = painter.transformer
    source = torch.randn(1, 32, 16, 16)
    pair = torch.cat([source, 2 * source])
    with torch.no_grad():
        bare = net.patch_embed.proj(torch.cat([torch.zeros_like(pair), pair], 1)).flatten(2).transpose(1, 2)
        normed = net.transformer_blocks[0].norm1(bare)[..., 8:]
        shift = net.transformer_blocks[0].norm1(net.patch_embed.proj.bias.detach()[None])[0, 8:]
    ratio = (normed[1] - shift).norm() / (normed[0] - shift).norm()
    assert 1.5 < ratio < 2


def test_a_few_steps_teach_it_to_tell_two_conditions_apart(tmp_path: Path):
    lesson = PainterLesson(*make_painter(depth=1), [1.0] * 32, Lesson(null=0.0))
    optimizer = OptimizerSettings(name="muon", rate=4e-3, matrix_rate=1e-2, weight_decay=0.01, betas=(0.9, 0.98))
    settings = LoopSettings(steps=25, batch=8, warmup=5, decay=0.3, log_every=1, optimizer={"painter": optimizer})
    errors: list[float] = []
    hooks = Hooks(on_event=lambda event: errors.append(event.figures["painter/relative_error"]))
    train(lesson, _FewPaintings(), settings, tmp_path, hooks)
    assert errors[0] == 1.0
    assert np.mean(errors[-4:]) < 0.8


def test_the_null_condition_replaces_marked_rows():
    painter, connector = make_painter(depth=1)
    torch.nn.init.normal_(painter.transformer.proj_out.weight, std=0.1)
    lesson = PainterLesson(painter, connector, [1.0] * 32, Lesson()).eval()
    batch = _FewPaintings().batch([0, 1])
    same = replace(batch, source=batch.source[:1].expand(2, -1, -1, -1))
    with torch.no_grad():
        noisy, sigma = torch.zeros_like(batch.source), torch.ones(2)
        with_words = lesson.predict(same, noisy, sigma, torch.tensor([False, False]))
        without = lesson.predict(same, noisy, sigma, torch.tensor([True, True]))
    assert not torch.allclose(with_words[0], with_words[1], atol=1e-5)
    torch.testing.assert_close(without[0], without[1])


def test_relative_error_counts_changed_tokens_alone():
    source = torch.zeros(1, 32, 16, 16)
    target = source.clone()
    target[..., :2, :2] = 1
    half = target / 2
    half[..., 8:, 8:] = 9
    batch = Batch(target, source, torch.zeros(1, 16, 192), torch.ones(1, 16), [""])
    assert relative_error(batch, half, patch=2, threshold=0.02).item() == 0.25
