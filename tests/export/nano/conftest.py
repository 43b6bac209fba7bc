import pytest

pytest.importorskip("torch")

from dimrt.export.nano.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory):
    """A freshly trained `tokenizer.json`."""
    path = tmp_path_factory.mktemp("nano") / "tokenizer.json"
    load_tokenizer(path)
    return path
