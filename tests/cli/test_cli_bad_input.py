"""Bad input, one fault a test: its exit code, a message that names the culprit, and nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Dimrt, Outcome, left_in, start
from PIL import Image


def refused(outcome: Outcome, *said: str, code: int = 2) -> None:
    """One clear line on stderr, nothing on stdout."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = [line for line in outcome.err.splitlines() if line.startswith("dimrt: ")]
    assert len(lines) == 1, outcome.err
    for word in said:
        assert word in lines[0]
    assert "Traceback" not in outcome.err


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where an edit is to go; the folder is otherwise empty."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "edited.jpg"


def test_no_such_photo(dimrt: Dimrt, out: Path) -> None:
    refused(dimrt("edit", "nowhere.jpg", "warmer", "-o", out), "nowhere.jpg", "no such file")
    assert left_in(out.parent) == []


def test_not_an_image(dimrt: Dimrt, out: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("dear diary")
    refused(dimrt("edit", text, "warmer", "-o", out), "notes.jpg", "not an image")
    assert left_in(out.parent) == []


def test_truncated_image(dimrt: Dimrt, out: Path, photo: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.jpg"
    half.write_bytes(photo.read_bytes()[:20_000])
    refused(dimrt("edit", half, "warmer", "-o", out), "half.jpg", "truncated or damaged")
    assert left_in(out.parent) == []


def test_image_bomb(dimrt: Dimrt, out: Path, tmp_path: Path) -> None:
    """A small file that says it is 900 megapixels."""
    bomb = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(bomb)
    data = bytearray(bomb.read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    bomb.write_bytes(data)
    refused(dimrt("edit", bomb, "warmer", "-o", out), "bomb.png", "limit of 150,000,000")
    assert left_in(out.parent) == []


@pytest.mark.parametrize(("name", "said"), [("edited.bmp", ".png"), ("edited", "suffix"), ("none/edited.jpg", "none")])
def test_outputs_that_can_not_be_written_are_refused_first(dimrt: Dimrt, tmp_path: Path, name: str, said: str) -> None:
    refused(dimrt("edit", "nowhere.jpg", "warmer", "-o", tmp_path / name), name, said)


def test_a_folder_as_output(dimrt: Dimrt, tmp_path: Path) -> None:
    (tmp_path / "taken.jpg").mkdir()
    refused(dimrt("edit", "nowhere.jpg", "warmer", "-o", tmp_path / "taken.jpg"), "--out", "folder")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_is_not_writable(dimrt: Dimrt, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    refused(dimrt("edit", "nowhere.jpg", "warmer", "-o", tmp_path / "shut" / "a.jpg"), "--out", "isn't writable")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "empty"), (b"\xff\xfe\x00x", "UTF-8"), (b"a" * 70_000, "65536 bytes")],
    ids=["missing", "empty", "binary", "long"],
)
def test_plans_that_can_not_be_read(dimrt: Dimrt, out: Path, photo: Path, content: bytes | None, said: str) -> None:
    plan = out.parent.parent / "plan.txt"
    if content is not None:
        plan.write_bytes(content)
    refused(dimrt("edit", photo, "warmer", "-o", out, "--plan", plan), "--plan", "plan.txt", said)
    assert left_in(out.parent) == []


@pytest.mark.parametrize("instruction", ["", "   \n", "warmer " * 40_000], ids=["empty", "blank", "long"])
def test_instructions_without_use(
    dimrt: Dimrt, out: Path, photo: Path, tiny_edit_bundle: Path, instruction: str
) -> None:
    refused(dimrt("edit", photo, instruction, "-o", out, "--bundle", tiny_edit_bundle), "instruction")
    assert left_in(out.parent) == []


@pytest.mark.parametrize("guidance", ["nan", "inf", "1e9"])
def test_guidance_out_of_range(dimrt: Dimrt, out: Path, photo: Path, tiny_edit_bundle: Path, guidance: str) -> None:
    given = ("--bundle", tiny_edit_bundle, "--guidance", guidance)
    refused(dimrt("edit", photo, "warmer", "-o", out, *given), "guidance")
    assert left_in(out.parent) == []


def test_unknown_bundle(dimrt: Dimrt, out: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = ("edit", photo, "warmer", "-o", out)
    refused(dimrt(*edit, "--bundle", "no-such"), "no-such", "--bundle", "dimrt export")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(dimrt(*edit, "--bundle", empty), "empty", "not a bundle")
    monkeypatch.setenv("DIMRT_BUNDLE", "gone")
    refused(dimrt(*edit), "gone", "DIMRT_BUNDLE")
    assert left_in(out.parent) == []


@pytest.fixture
def bundle_copy(tiny_edit_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    copy = tmp_path / "bundle"
    shutil.copytree(tiny_edit_bundle, copy)
    return copy


def test_an_edited_byte_in_a_bundle(dimrt: Dimrt, out: Path, photo: Path, bundle_copy: Path) -> None:
    victim = max((path for path in bundle_copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    refused(dimrt("edit", photo, "warmer", "-o", out, "--bundle", bundle_copy), victim.name, "altered")
    refused(dimrt("verify", bundle_copy), victim.name, "altered", code=1)
    assert left_in(out.parent) == []


@pytest.mark.parametrize("change", ["missing", "extra", "longer"])
def test_a_bundle_with_other_files(dimrt: Dimrt, out: Path, photo: Path, bundle_copy: Path, change: str) -> None:
    tokenizer = bundle_copy / "tokenizer.json"
    match change:
        case "missing":
            tokenizer.unlink()
        case "extra":
            (bundle_copy / "onnx" / "extra.onnx").write_bytes(b"x")
        case "longer":
            tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    named = "extra.onnx" if change == "extra" else "tokenizer.json"
    refused(dimrt("edit", photo, "warmer", "-o", out, "--bundle", bundle_copy), named)
    refused(dimrt("info", bundle_copy), named)
    refused(dimrt("verify", bundle_copy), named, code=1)


def test_a_bundle_of_a_newer_format(dimrt: Dimrt, out: Path, photo: Path, bundle_copy: Path) -> None:
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["format"] += 1
    manifest["a_field_of_the_future"] = True
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    for command in (("edit", photo, "warmer", "-o", out, "--bundle", bundle_copy), ("verify", bundle_copy)):
        refused(dimrt(*command), "newer", "upgrade")
    assert left_in(out.parent) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_the_disk_fills_while_the_photo_is_written(out: Path, photo: Path, tiny_edit_bundle: Path) -> None:
    """The system refuses the 8193rd byte of any file, which is how a full quota looks to a program."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    process = start(
        *("edit", photo, "warmer", "-o", out.with_suffix(".png"), "--bundle", tiny_edit_bundle, "--steps", 1),
        "--max-plan-tokens", 4,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip
    _, err = process.communicate()
    assert process.returncode == 3, err
    assert b"edited.png" in err and b"free" in err and b"Traceback" not in err
    assert left_in(out.parent) == []
