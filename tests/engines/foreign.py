"""Bundles whose ONNX isn't what the manifest describes, with sums that agree."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx

from dimrt.bundle import NANO, Bundle, write_manifest


def altered_bundle(folder: Path, graph: str, alter: Callable[[onnx.ModelProto], None]) -> Bundle:
    """A copy of the shipped bundle with one graph altered and its manifest written anew."""
    shutil.copytree(NANO, folder)
    path = folder / "onnx" / f"{graph}.onnx"
    model = onnx.load(path, load_external_data=False)
    alter(model)
    path.write_bytes(model.SerializeToString())
    write_manifest(folder, Bundle.open(NANO, verify="layout").manifest)
    return Bundle.open(folder)


def value(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """An input or output by its name."""
    return next(found for found in (*model.graph.input, *model.graph.output) if found.name == name)
