"""The Krita plug-in: its installer, what it may import, and Krita itself on a virtual display."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from dimrt.bundle import NANO, Bundle, write_manifest
from dimrt.editor import Editor
from dimrt.photo.read import read_photo
from dimrt.worker import client

PLUGIN = Path(__file__).parent.parent.parent / "dimrt" / "examples" / "krita" / "plugin" / "dimrt_krita"
DRIVE = Path(__file__).parent / "krita_drive"
WORDS = "make it look like an old sepia photo"
NEEDED = ("krita", "xvfb-run")
SYSTEM_PYTHON = "/usr/bin/python3"
"""Whose packages Debian's Krita uses."""


def install(data: Path, config: Path, *worker: str) -> str:
    command = [sys.executable, "-m", "dimrt.examples.krita", "install", "--data", str(data), "--config", str(config)]
    done = subprocess.run([*command, "--", *worker], capture_output=True, text=True, check=True)
    return done.stdout


def test_install_puts_plugin_client_and_worker_in_place_and_keeps_settings(tmp_path: Path) -> None:
    config = tmp_path / "config" / "kritarc"
    config.parent.mkdir()
    config.write_text(
        "[General]\nname=Zoë\n\n[python]\nenable_other=true\nenable_dimrt_krita=false\n\n[theme]\nTheme=dark\n"
    )
    said = install(tmp_path / "data", config, "dimrt", "worker", "--bundle", "x y")
    folder = tmp_path / "data" / "pykrita" / "dimrt_krita"
    assert str(folder) in said
    assert {path.name for path in folder.iterdir()} >= {path.name for path in PLUGIN.iterdir() if path.is_file()}
    assert (folder.parent / "dimrt_krita.desktop").is_file()
    assert (folder / "client.py").read_bytes() == Path(client.__file__).read_bytes()
    assert json.loads((folder / "worker.json").read_text())["command"] == ["dimrt", "worker", "--bundle", "x y"]
    assert config.read_text().splitlines() == [
        *("[General]", "name=Zoë", "", "[python]", "enable_dimrt_krita=true", "enable_other=true", "", "[theme]"),
        "Theme=dark",
    ]
    install(tmp_path / "data", tmp_path / "fresh")
    assert (tmp_path / "fresh").read_text() == "[python]\nenable_dimrt_krita=true\n"
    assert json.loads((folder / "worker.json").read_text())["command"][0] == sys.executable


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda path: str(path.name))
def test_the_plugin_needs_what_krita_brings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    tops = {name.split(".")[0] for name in names}
    assert tops <= {*sys.stdlib_module_names, "krita", "PyQt5", "dimrt_krita"}


def missing() -> str:
    """What keeps Krita from being driven here; "" when nothing does."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"needs {' and '.join(absent)}"
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import PyQt5.QtWidgets"], capture_output=True, check=False)
    return "" if found.returncode == 0 else "Krita's Python needs PyQt5"


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Krita edits a photo, a selection, and cancels; the folder with what came of it."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("krita")
    data, config = home / "data", home / "config"
    worker = (sys.executable, "-m", "dimrt.cli", "worker", "--threads", "1", "--bundle", str(lasting(home / "bundle")))
    install(data / "krita", config / "kritarc", *worker)
    shutil.copytree(DRIVE, data / "krita" / "pykrita", dirs_exist_ok=True)
    with (config / "kritarc").open("a") as settings:
        settings.write("enable_dimrt_drive=true\n")
    (config / "kritadisplayrc").write_text("[General]\nOpenGLRenderer=none\n")
    out = home / "out"
    out.mkdir()
    picture().save(out / "photo.png")
    env = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(data), "XDG_CONFIG_HOME": str(config)}
    env |= {"XDG_CACHE_HOME": str(home / "cache"), "DIMRT_DRIVE": str(out), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    # Krita's Python looks for its packages beside the first python3 of the path.
    env["PATH"] = os.pathsep.join(["/usr/bin", "/bin"])
    for name in ("QT_QPA_PLATFORM", "PYTHONHOME", "PYTHONPATH"):
        env.pop(name, None)
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", "krita", "--nosplash", str(out / "photo.png")]
    with (out / "krita.log").open("wb") as log:
        subprocess.run(command, env=env, stdout=log, stderr=log, timeout=400, check=False)
    if (out / "error.txt").is_file():
        pytest.fail((out / "error.txt").read_text())
    assert (out / "report.json").is_file(), (out / "krita.log").read_text(errors="replace")[-3000:]
    return out


def lasting(folder: Path) -> Path:
    """nano with so many steps that an edit still runs when somebody cancels it."""
    shutil.copytree(NANO, folder)
    manifest = Bundle.open(folder, verify="layout").manifest
    (folder / "manifest.json").unlink()
    schedule = msgspec.structs.replace(manifest.schedule, steps=400, distilled=None)
    write_manifest(folder, msgspec.structs.replace(manifest, schedule=schedule))
    return folder


def picture() -> Image.Image:
    rows, columns = np.mgrid[0:96, 0:128]
    pixels = np.stack([rows * 2, columns, (rows + columns) % 256], axis=2).astype(np.uint8)
    pixels[30:60, 40:90] = (200, 30, 60)
    return Image.fromarray(pixels)


def layer(driven: Path, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A layer's pixels, RGBA."""
    pixels = np.frombuffer((driven / f"{name}.bgra").read_bytes(), np.uint8).reshape(96, 128, 4)
    return pixels[..., [2, 1, 0, 3]]


def test_krita_edits_the_document(driven: Path) -> None:
    report = json.loads((driven / "report.json").read_text())
    assert report["depth"] == "U8"
    assert report["layers"][0] == f"dimrt: {WORDS}"
    assert report["statuses"][0] == "Added as a new layer"
    source = read_photo(driven / "photo.png")
    expected = Editor.load(driven.parent / "bundle", device="cpu", threads=1, verify="layout").edit(source, WORDS).image
    whole = layer(driven, "whole")
    assert (whole[..., 3] == 255).all()
    assert np.abs(whole[..., :3].astype(int) - expected).max() <= 1
    assert np.abs(expected.astype(int) - source.pixels).mean() > 5


def test_krita_edits_the_selection_alone(driven: Path) -> None:
    report = json.loads((driven / "report.json").read_text())
    assert report["statuses"][1] == "Added as a new layer"
    alpha = layer(driven, "selection")[..., 3]
    assert (alpha[10:50, 20:80] == 255).all()
    alpha = alpha.copy()
    alpha[10:50, 20:80] = 0
    assert not alpha.any()


def test_krita_cancels(driven: Path) -> None:
    report = json.loads((driven / "report.json").read_text())
    assert report["statuses"][2] == "Cancelled"
    assert report["count"] == 3
