"""Frozen parts that the tests of data share: the reference's tiny designer and autoencoder, and nano's."""

from pathlib import Path

import pytest
from tiny import write_tiny_checkpoint

from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.train.data.frozen import Frozen


@pytest.fixture(scope="session")
def tiny_checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edit checkpoint of free aspect: side 128, multiples of 32."""
    return write_tiny_checkpoint(reference, tmp_path_factory.mktemp("tiny") / "checkpoint", "edit", "free")


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> Frozen:
    """Its frozen parts."""
    return Frozen.load(Checkpoint.open(tiny_checkpoint, offline=True))


@pytest.fixture(scope="session")
def tiny_generate(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """The frozen parts of a text-to-image checkpoint of squares."""
    folder = write_tiny_checkpoint(reference, tmp_path_factory.mktemp("tiny") / "t2i", "generate", "square")
    return Frozen.load(Checkpoint.open(folder, offline=True))
