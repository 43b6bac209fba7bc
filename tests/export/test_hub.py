"""Fetching from a hub: against a local server that speaks its protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoint_folders import tiny_tensors, write_folder
from hub_server import COMMIT, Hub, running

from dimrt.errors import CheckpointError, InputError, ResourceError
from dimrt.export.download import TRIES
from dimrt.export.hub import resolve
from dimrt.export.model.checkpoint import Checkpoint

NAME = "someone/tiny-dim"


@pytest.fixture(scope="module")
def model(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model, with files that export doesn't need."""
    folder = write_folder(tmp_path_factory.mktemp("hub") / "tiny", reference, tiny_tensors(reference))
    (folder / "README.md").write_text("about")
    (folder / "assets").mkdir()
    (folder / "assets" / "demo.png").write_bytes(b"picture")
    return folder


@pytest.fixture
def hub(model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running(Hub({NAME: model})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr("dimrt.export.download.PAUSE", 0.0)
        yield hub


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_downloads_what_export_reads(hub: Hub, model: Path, tmp_path: Path) -> None:
    folder = resolve(NAME, cache_dir=tmp_path)
    unneeded = {"README.md", "assets/demo.png"}
    assert files(folder) == {name: data for name, data in files(model).items() if name not in unneeded}
    assert Checkpoint.open(folder).config.name == "tiny"


def test_configuration_alone(hub: Hub, tmp_path: Path) -> None:
    folder = resolve(NAME, cache_dir=tmp_path, weights=False)
    assert (folder / "qwen" / "config.json").is_file()
    assert not list(folder.rglob("*.safetensors"))


def test_second_time_fetches_no_file(hub: Hub, tmp_path: Path) -> None:
    first = resolve(NAME, cache_dir=tmp_path)
    hub.requests.clear()
    assert resolve(NAME, cache_dir=tmp_path) == first
    assert not [path for _, path, _ in hub.requests if "/resolve/" in path]


def test_revision(hub: Hub, tmp_path: Path) -> None:
    assert resolve(f"{NAME}@{COMMIT}", cache_dir=tmp_path) == resolve(NAME, cache_dir=tmp_path)
    with pytest.raises(InputError, match="has no revision v9"):
        resolve(f"{NAME}@v9", cache_dir=tmp_path)


def resumed(hub: Hub, file: str) -> list[int]:
    """Where each download of `file` began."""
    return [int(ranged.removeprefix("bytes=").removesuffix("-")) if ranged else 0 for ranged in hub.downloads(file)]


def test_broken_connection_resumes_in_place(hub: Hub, model: Path, tmp_path: Path) -> None:
    """The server closes in the middle of a file, then fails once: the rest is asked for, and no byte twice."""
    hub.cut["model.safetensors"] = [100_000, -503, 200_000]
    folder = resolve(NAME, cache_dir=tmp_path)
    assert files(folder)["model.safetensors"] == files(model)["model.safetensors"]
    assert resumed(hub, "model.safetensors") == [0, 100_000, 100_000, 300_000]


def test_failed_download_resumes_when_run_again(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [100_000, *[-500] * TRIES]
    with pytest.raises(ResourceError, match=f"hub model {NAME}.*what arrived is kept"):
        resolve(NAME, cache_dir=tmp_path)
    with pytest.raises(InputError, match="not completely"):
        resolve(NAME, cache_dir=tmp_path, offline=True)
    hub.requests.clear()
    folder = resolve(NAME, cache_dir=tmp_path)
    assert files(folder)["model.safetensors"] == files(model)["model.safetensors"]
    assert resumed(hub, "model.safetensors") == [100_000]
    assert not list(tmp_path.rglob("*partial*"))


def test_damaged_partial_file_is_not_used(hub: Hub, model: Path, tmp_path: Path) -> None:
    """A byte that changed on disk between two runs is found by the sha256, and the file fetched anew."""
    hub.cut["model.safetensors"] = [100_000, *[-500] * TRIES]
    with pytest.raises(ResourceError):
        resolve(NAME, cache_dir=tmp_path)
    (partial,) = tmp_path.rglob("*partial*")
    partial.write_bytes(b"\0" * partial.stat().st_size)
    with pytest.raises(ResourceError, match=r"model\.safetensors arrived with sha256 .* run the command again"):
        resolve(NAME, cache_dir=tmp_path)
    assert files(resolve(NAME, cache_dir=tmp_path))["model.safetensors"] == files(model)["model.safetensors"]


def test_refusal_is_not_tried_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [-403]
    with pytest.raises(ResourceError, match="403"):
        resolve(NAME, cache_dir=tmp_path)
    assert len(hub.downloads("model.safetensors")) == 1


def test_offline_reads_the_cache_and_asks_nobody(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--offline forbids a download"):
        resolve(NAME, cache_dir=tmp_path, offline=True)
    online = resolve(NAME, cache_dir=tmp_path)
    hub.requests.clear()
    assert resolve(NAME, cache_dir=tmp_path, offline=True) == online
    assert not hub.requests


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with running(Hub({})) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.endpoint)
    with pytest.raises(ResourceError, match=r"can't reach http://127\.0\.0\.1.*name a local folder"):
        resolve(NAME, cache_dir=tmp_path)


def test_server_gone_but_cached(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    online = resolve(NAME, cache_dir=tmp_path)
    with running(Hub({})) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.endpoint)
    assert resolve(NAME, cache_dir=tmp_path) == online


def test_unknown_and_gated(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="someone/other: no folder of this name here, and the hub has no such model"):
        resolve("someone/other", cache_dir=tmp_path)
    hub.gated.add("someone/closed")
    with pytest.raises(InputError, match=r"someone/closed: access is restricted.*HF_TOKEN"):
        resolve("someone/closed", cache_dir=tmp_path)


def test_model_without_weights(hub: Hub, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    hub.models["someone/bare"] = bare
    with pytest.raises(CheckpointError, match="holds no safetensors weights"):
        resolve("someone/bare", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("source", ["", "a b/c", "one/two/three", "missing-folder", "a/../b"])
def test_neither_folder_nor_hub_id(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"check the path|not a valid hub id"):
        resolve(source or "  ", cache_dir=tmp_path)


def test_local_folder_and_file(model: Path) -> None:
    assert resolve(model) == model
    with pytest.raises(InputError, match="is a file"):
        resolve(model / "README.md")


def test_parts_by_hub_id(
    hub: Hub, model: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint whose designer and autoencoder are named by hub id."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.models |= {"a/qwen": reference / "designer_tiny", "a/dc-ae": reference / "autoencoder_tiny"}
    folder = write_folder(tmp_path / "bare", reference, tiny_tensors(reference))
    for part in ("qwen", "dc-ae"):
        for path in (folder / part).iterdir():
            path.unlink()
        (folder / part).rmdir()
    checkpoint = Checkpoint.open(folder, designer="a/qwen", autoencoder="a/dc-ae")
    assert checkpoint.stored.keys() == Checkpoint.open(model).stored.keys()
