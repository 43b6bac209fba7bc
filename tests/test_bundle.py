"""A bundle is opened only when it is exactly what its manifest says; every difference is named."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from dimrt import bundle as module
from dimrt.bundle import Bundle, find_bundle, write_manifest
from dimrt.errors import BundleError
from dimrt.manifest import (
    FORMAT_VERSION,
    GRAPHS,
    Decoding,
    Designer,
    Graph,
    Language,
    Manifest,
    Measured,
    Painter,
    Prompt,
    Provenance,
    Resolution,
    Schedule,
    TensorSpec,
    Tokens,
    Vision,
)

ROWS = np.arange(24, dtype=np.float16).reshape(6, 4)


def a_manifest() -> Manifest:
    spec = TensorSpec(name="x", dtype="float32", shape=(1, "n"))
    error = Measured(max_abs=1e-5, relative=1e-6, limit=1e-4, cases=2)
    return Manifest(
        format=FORMAT_VERSION,
        name="fake",
        recipe="fp32",
        designer=Designer(
            vision=Vision(
                patch_size=16,
                temporal_patch_size=2,
                merge_size=2,
                window_size=64,
                head_dim=32,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                min_pixels=1,
                max_pixels=128 * 128,
                condition_side=128,
            ),
            language=Language(
                hidden_size=4,
                layers=1,
                kv_heads=1,
                head_dim=32,
                vocab_size=6,
                rope_theta=1e6,
                mrope_section=(4, 6, 6),
                max_positions=64,
            ),
            tokens=Tokens(im_start=1, im_end=2, vision_start=3, vision_end=4, image_pad=5, stop=(2,)),
            prompt=Prompt(system="", request="{instruction}"),
            decoding=Decoding(max_new_tokens=8, repetition_penalty=1.0),
        ),
        painter=Painter(
            task="edit",
            latent_channels=32,
            condition_channels=4,
            max_condition=16,
            layers=1,
            heads=1,
            head_dim=4,
        ),
        resolution=Resolution(side=128, multiple=16, latent_factor=8, aspect="square"),
        schedule=Schedule(steps=30, guidance_scale=7.5, shift=3.0, seed=233),
        graphs={name: Graph(f"onnx/{name}.onnx", (spec,), (spec,), error) for name in GRAPHS},
        licence="none",
        provenance=Provenance(checkpoint="none", tool="tests", versions={}),
        files={},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose graphs are arbitrary bytes."""
    root = tmp_path / "fake"
    (root / "onnx").mkdir(parents=True)
    (root / "tables").mkdir()
    for name in GRAPHS:
        (root / "onnx" / f"{name}.onnx").write_bytes(name.encode() * 100)
    (root / "onnx" / "step.onnx.data").write_bytes(bytes(5000))
    (root / "tokenizer.json").write_text("{}")
    save_file({"embeddings": ROWS}, root / "tables" / "embeddings.safetensors")
    write_manifest(root, a_manifest())
    return root


def test_open(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.manifest.name == "fake"
    assert bundle.manifest.files["onnx/step.onnx.data"].size == 5000
    assert bundle.graph_path("step") == folder / "onnx" / "step.onnx"
    assert bundle.tokenizer_path.read_text() == "{}"
    assert Bundle.open(folder, verify="layout").digest == bundle.digest


def test_a_graphs_bytes_are_those_of_its_files(folder: Path) -> None:
    (folder / "onnx" / "step.onnx2").write_bytes(bytes(7))
    write_manifest(folder, a_manifest())
    bundle = Bundle.open(folder)
    assert bundle.graph_bytes("step") == 400 + 5000
    assert bundle.graph_bytes("vision") == 600


def test_table_is_mapped_not_loaded(folder: Path) -> None:
    table = Bundle.open(folder).table("embeddings")
    assert isinstance(table.base, np.memmap)
    assert table.dtype == np.float16
    np.testing.assert_array_equal(table[[5, 0]], ROWS[[5, 0]])


def test_what_is_not_there_is_named(folder: Path) -> None:
    bundle = Bundle.open(folder)
    with pytest.raises(BundleError, match=r"no graph `paint` \(it has connector"):
        bundle.graph_path("paint")
    with pytest.raises(BundleError, match=r"tables/other\.safetensors"):
        bundle.table("other")


@pytest.mark.parametrize("name", ["onnx/step.onnx", "onnx/step.onnx.data", "tokenizer.json"])
def test_one_edited_byte_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{Path(name).name} was altered"):
        Bundle.open(folder)
    Bundle.open(folder, verify="layout")


def edit_manifest(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


def test_digest_follows_the_manifest(folder: Path) -> None:
    before = Bundle.open(folder).digest
    edit_manifest(folder, lambda content: content.update(name="other"))
    assert Bundle.open(folder).digest != before


def test_truncated_extra_and_missing_files(folder: Path) -> None:
    step = folder / "onnx" / "step.onnx"
    content = step.read_bytes()
    step.write_bytes(content[:-1])
    with pytest.raises(BundleError, match=r"step\.onnx has 399 bytes, the manifest says 400"):
        Bundle.open(folder, verify="layout")
    step.unlink()
    with pytest.raises(BundleError, match=r"lacks onnx/step\.onnx"):
        Bundle.open(folder, verify="layout")
    step.write_bytes(content)
    (folder / "onnx" / "run.py").write_text("")
    with pytest.raises(BundleError, match=r"holds onnx/run\.py"):
        Bundle.open(folder, verify="layout")
    (folder / "onnx" / "run.py").unlink()
    (folder / "empty").mkdir()
    with pytest.raises(BundleError, match="empty folder"):
        Bundle.open(folder, verify="layout")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("kind", ["file", "folder", "manifest", "dangling"])
def test_links_are_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (folder / "onnx").rename(tmp_path / "onnx")
        (folder / "onnx").symlink_to(tmp_path / "onnx")
    elif kind == "dangling":
        (folder / "extra").symlink_to(tmp_path / "nothing")
    else:
        name = "manifest.json" if kind == "manifest" else "tokenizer.json"
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match="link"):
        Bundle.open(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_special_files_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="special file"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/passwd", "a/../../b", "c:\\x", "a\\b", "", "a//b", "./a", "manifest.json", "a\n", "nul\0"],
)
def test_names_outside_the_bundle_are_refused(folder: Path, name: str) -> None:
    record = {"size": 1, "sha256": "0" * 64}
    edit_manifest(folder, lambda content: content["files"].update({name: record}))  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match=r"inside the bundle|every platform"):
        Bundle.open(folder)


def test_names_that_collide_are_refused(folder: Path) -> None:
    record = {"size": 2, "sha256": "0" * 64}
    edit_manifest(folder, lambda content: content["files"].update({"Tokenizer.json": record}))  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match="upper and lower case"):
        Bundle.open(folder)


def test_newer_format_is_told_before_its_fields_are_read(folder: Path) -> None:
    def newer(content: dict[str, object]) -> None:
        content.clear()
        content.update(format=FORMAT_VERSION + 1, unheard_of=[1])

    edit_manifest(folder, newer)
    with pytest.raises(BundleError, match=r"made by a newer dimrt .*upgrade"):
        Bundle.open(folder)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "1"}', b'{"format": 1}', b'{"format": 0}'])
def test_damaged_manifest(folder: Path, raw: bytes) -> None:
    (folder / "manifest.json").write_bytes(raw)
    with pytest.raises(BundleError, match=r"manifest\.json is damaged|bundle format 0"):
        Bundle.open(folder)


def test_unknown_field_is_refused(folder: Path) -> None:
    edit_manifest(folder, lambda content: content.update(surprise=1))
    with pytest.raises(BundleError, match="surprise"):
        Bundle.open(folder)


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        Bundle.open(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        Bundle.open(tmp_path)


def table_bytes(header: object, data: bytes = bytes(48)) -> bytes:
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**62).to_bytes(8, "little") + bytes(48),
        table_bytes([]),
        table_bytes({"other": {}}),
        table_bytes({"embeddings": {"dtype": "I64", "shape": [6, 4], "data_offsets": [0, 48]}}),
        table_bytes({"embeddings": {"dtype": "F16", "shape": [60, 4], "data_offsets": [0, 480]}}),
        table_bytes({"embeddings": {"dtype": "F16", "shape": [6, 4], "data_offsets": [8, 56]}}),
        table_bytes({"embeddings": {"dtype": "F16", "shape": [6, 4], "data_offsets": [-8, 40]}}),
        table_bytes({"embeddings": {"dtype": "F16", "shape": [-6, -4], "data_offsets": [0, 48]}}),
    ],
)
def test_malformed_table(folder: Path, content: bytes) -> None:
    (folder / "tables" / "embeddings.safetensors").write_bytes(content)
    write_manifest(folder, a_manifest())
    with pytest.raises(BundleError, match=r"embeddings\.safetensors is not a table"):
        Bundle.open(folder).table("embeddings")


def test_manifest_round_trip(folder: Path) -> None:
    written = write_manifest(folder, a_manifest())
    assert Bundle.open(folder).manifest == written
    assert msgspec.structs.replace(written, files={}) == a_manifest()


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No bundle is chosen by the environment; returns the configuration folder."""
    config = tmp_path / "config"
    config.mkdir()
    monkeypatch.delenv("DIMRT_BUNDLE", raising=False)
    monkeypatch.setattr(module, "config_folder", lambda: config)
    monkeypatch.setattr(module, "NANO", tmp_path / "packaged")
    return config


def test_the_choice_goes_from_flag_to_packaged(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"--bundle not given, DIMRT_BUNDLE not set, no `bundle` in .*config\.json"):
        find_bundle(None)
    (tmp_path / "packaged").mkdir()
    assert find_bundle(None) == (tmp_path / "packaged", "packaged")
    (clean / "mine").mkdir()
    (clean / "config.json").write_text('{"bundle": "mine"}')
    assert find_bundle(None) == (clean / "mine", str(clean / "config.json"))
    monkeypatch.setenv("DIMRT_BUNDLE", "nano")
    assert find_bundle(None) == (tmp_path / "packaged", "DIMRT_BUNDLE")
    assert find_bundle(clean) == (clean, "--bundle")


@pytest.mark.parametrize("content", ["{", '{"bundle": 3}'])
def test_a_damaged_configuration_is_named(clean: Path, content: str) -> None:
    (clean / "config.json").write_text(content)
    with pytest.raises(BundleError, match=r"config\.json"):
        find_bundle(None)


def test_a_failed_choice_is_not_replaced_by_the_next(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packaged").mkdir()
    with pytest.raises(BundleError, match=r"unknown bundle .*gone.* from --bundle.*dimrt export"):
        find_bundle(tmp_path / "gone")
    monkeypatch.setenv("DIMRT_BUNDLE", str(tmp_path / "gone"))
    with pytest.raises(BundleError, match="from DIMRT_BUNDLE"):
        find_bundle(None)
