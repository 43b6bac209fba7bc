"""Nano's parts become one checkpoint that the product's own reader takes."""

import torch

from dimrt.export.model.dim import load_dim
from dimrt.export.nano.assembly import assemble, write_checkpoint
from dimrt.export.nano.autoencoder import build_autoencoder, fit_basis
from dimrt.export.nano.cases import draw_case
from dimrt.export.nano.designer import build_designer, save_designer
from dimrt.export.nano.painter import make_painter


def test_an_assembled_checkpoint_loads_with_the_same_weights(tmp_path, tokenizer_path):
    designer = build_designer(tokenizer_path)
    save_designer(designer, tokenizer_path, tmp_path / "qwen")
    painter, connector = make_painter()
    autoencoder = build_autoencoder(fit_basis(draw_case("training", 0, index).source for index in range(20)))
    dim = assemble(designer, tmp_path / "qwen", painter, connector, autoencoder)
    write_checkpoint(dim, tmp_path / "checkpoint")
    loaded = load_dim(tmp_path / "checkpoint")
    assert loaded.config == dim.config
    assert (tmp_path / "checkpoint" / "qwen" / "tokenizer.json").read_bytes() == tokenizer_path.read_bytes()
    expected, found = dim.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor.half().float(), found[name].float()), name
    assert sum(parameter.numel() for parameter in loaded.parameters()) < 12.2e6
