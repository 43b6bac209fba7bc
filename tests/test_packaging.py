"""What a user's site-packages gets: the wheel's contents."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parent.parent
WHEEL_LIMIT = 20_000_000
"""Bytes; the nano bundle may have 25 MB of them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from a copy so that nothing of an older build gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    for name in ("dimrt", "export", "engines"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = ["pip", "wheel", str(copy), "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", *build], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_only_dimrt_lands_in_site_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"dimrt", "dimrt-0.1.0.dist-info"}


def test_every_module_is_packed(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for folder, place in (("dimrt", "dimrt"), ("export", "dimrt/export"), ("engines", "dimrt/engines")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{place}/{path.relative_to(ROOT / folder).as_posix()}" in names


def test_types_licence_and_readme_travel(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "dimrt/py.typed" in names
    assert "dimrt-0.1.0.dist-info/licenses/LICENSE" in names
    metadata = wheel.read("dimrt-0.1.0.dist-info/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0] in metadata


def test_the_nano_bundle_travels_whole(wheel: zipfile.ZipFile) -> None:
    bundle = ROOT / "dimrt" / "bundles" / "nano"
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert any(path.name == "manifest.json" for path in files)
    for path in files:
        assert (
            wheel.getinfo(f"dimrt/bundles/nano/{path.relative_to(bundle).as_posix()}").file_size == path.stat().st_size
        )
    assert sum(path.stat().st_size for path in files) <= 25_000_000


def test_nothing_else_travels(wheel: zipfile.ZipFile) -> None:
    strays = [name for name in wheel.namelist() if "test" in Path(name).name or "__pycache__" in name]
    assert strays == []
    assert not [name for name in wheel.namelist() if "nano/checkpoint" in name]
    assert sum(info.compress_size for info in wheel.infolist()) <= WHEEL_LIMIT


def test_the_command_points_at_the_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"dimrt": "dimrt.cli.main:main"}
