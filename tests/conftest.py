"""Fixtures shared by all tests."""

import hashlib
import importlib.metadata
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

from dimrt.lock import try_lock

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores; each with threads of its own would only wait for the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
MAKES_BUNDLES = (
    *("export/graphs", "export/precision", "export/model"),
    *(f"export/{name}.py" for name in ("facts", "pipeline", "stream", "writer")),
)
"""Sources whose change makes the tiny bundles be exported anew."""


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the numeric fixtures of the original inference."""
    return Path(__file__).parent / "fixtures" / "reference"


@pytest.fixture(scope="session")
def tiny_edit_bundle(reference: Path, pytestconfig: pytest.Config) -> Path:
    """A float32 bundle of the reference's tiny parts, edit variant. Read only: copy it to change it."""
    return _tiny_bundle(reference, pytestconfig, "edit", "fp32")


@pytest.fixture(scope="session")
def tiny_cpu_bundle(reference: Path, pytestconfig: pytest.Config) -> Path:
    """The float32 bundle with the operators that ONNX Runtime alone knows."""
    return _tiny_bundle(reference, pytestconfig, "edit", "fp32-cpu")


@pytest.fixture(scope="session")
def tiny_generate_bundle(reference: Path, pytestconfig: pytest.Config) -> Path:
    """The same with the text-to-image painter."""
    return _tiny_bundle(reference, pytestconfig, "generate", "fp32")


@pytest.fixture(scope="session")
def tiny_fp16_bundle(reference: Path, pytestconfig: pytest.Config) -> Path:
    """The edit variant in half precision, for one picture size (which is quicker to export)."""
    return _tiny_bundle(reference, pytestconfig, "edit", "fp16", "square")


def _tiny_bundle(
    reference: Path,
    config: pytest.Config,
    task: Literal["edit", "generate"],
    recipe: str,
    aspect: Literal["free", "square"] = "free",
) -> Path:
    """Export once, and keep the result in pytest's cache while the exporting sources and packages stay the same."""
    bundle = config.cache.mkdir("tiny-bundles") / f"{task}-{recipe}-{_sources_digest(reference)}"
    with _alone(bundle):
        if not bundle.is_dir():
            from tiny import write_tiny_checkpoint

            from dimrt.export.pipeline import export_bundle
            from dimrt.export.precision import RECIPES

            with TemporaryDirectory() as folder:
                checkpoint = write_tiny_checkpoint(reference, Path(folder) / "checkpoint", task, aspect)
                export_bundle(checkpoint, bundle, RECIPES[recipe], offline=True, replace=True)
    return bundle


@contextmanager
def _alone(bundle: Path) -> Iterator[None]:
    """While no other test process exports the same bundle."""
    with bundle.with_suffix(".lock").open("wb") as file:
        while not try_lock(file):
            time.sleep(0.2)
        yield


def _sources_digest(reference: Path) -> str:
    digest = hashlib.sha256()
    sources = [ROOT / "dimrt" / "manifest.py", ROOT / "tests" / "tiny.py", reference / "MANIFEST.json"]
    for name in MAKES_BUNDLES:
        path = ROOT / name
        sources += sorted(path.glob("*.py")) if path.is_dir() else [path]
    for source in sources:
        digest.update(source.read_bytes())
    for package in ("torch", "transformers", "diffusers", "onnx", "onnxscript", "onnxruntime"):
        digest.update(importlib.metadata.version(package).encode())
    return digest.hexdigest()[:16]
