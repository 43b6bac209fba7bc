"""A checkpoint becomes an int4 bundle: calibrated on what the chain runs, verified, and fit to edit with."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tiny import write_tiny_checkpoint

from dimrt import EditOptions, Editor
from dimrt.bundle import Bundle
from dimrt.export.pipeline import export_bundle
from dimrt.export.precision import load_recipe
from dimrt.export.precision.analyze import analyze_checkpoint


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit", "square")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int4 for the CPU holds every integer format. The tiny model reads a letter a token, and 13 of them."""
    folder = tmp_path_factory.mktemp("calibration") / "mine"
    folder.mkdir()
    random = np.random.default_rng(11)
    for number, colour in enumerate(((200, 40, 10), (10, 90, 160))):
        noise = random.integers(0, 128, (120, 160, 3)) + np.array(colour) // 2
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "instructions.txt").write_text("Make it red.\nBlur it.\nTurn this into something far too long.\n")
    out = tmp_path_factory.mktemp("bundles") / "int4"
    return Bundle.open(export_bundle(checkpoint, out, load_recipe("int4-cpu"), calibration=folder, offline=True))


def stored(bundle: Bundle, graph: str) -> dict[str, int]:
    """Type of every initializer."""
    model = onnx.load(bundle.graph_path(graph), load_external_data=False)
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def test_every_graph_has_the_formats_of_the_recipe(bundle: Bundle) -> None:
    types = onnx.TensorProto
    language, step = stored(bundle, "language"), stored(bundle, "step")
    assert language["layers.0.mlp.down.weight.int4"] == types.INT4
    assert language["head.weight.int8"] == types.INT8
    assert step["blocks.0.expand.weight.int8"] == types.INT8
    assert step["embed.weight"] == types.FLOAT
    assert set(stored(bundle, "vision").values()) <= {types.FLOAT, types.INT64}
    for graph in bundle.manifest.graphs:
        nodes = onnx.load(bundle.graph_path(graph), load_external_data=False).graph.node
        integers = [node for node in nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert bool(integers) == (graph in ("language", "connector", "context", "step"))


def test_the_manifest_says_what_was_done(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.recipe == "int4-cpu"
    said = manifest.provenance.calibration
    assert said.startswith("3 requests from mine; 1 refused: ") and "far too long" in said
    for name, graph in manifest.graphs.items():
        limit = load_recipe("int4-cpu").limits[name]
        assert 0 < graph.error.relative <= graph.error.limit == limit


def test_it_edits(bundle: Bundle, tiny_edit_bundle: Path) -> None:
    """With the same plan and seed, its picture is far nearer to the float32 bundle's than another seed's picture is.

    The tiny model's weights are random: small errors grow in it as they wouldn't in a trained one.
    """
    pixels = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
    float32, int4 = (Editor.load(path, device="cpu", threads=1) for path in (tiny_edit_bundle, bundle.path))

    def painted(editor: Editor, seed: int) -> np.ndarray:
        options = EditOptions(seed=seed, steps=2, guidance_scale=1.0, plan="Make it red.", composite="none")
        return editor.edit(pixels, "Make it red.", options).painted.astype(float)

    reference = painted(float32, 5)
    off, other = (np.sqrt(((picture - reference) ** 2).mean()) for picture in (painted(int4, 5), painted(float32, 6)))
    assert 0 < off < 0.5 * other


def test_a_checkpoint_is_analyzed_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    """Without calibration here: assumed activations, every graph, nothing left of the work."""
    phases: list[str] = []
    analysis = analyze_checkpoint(
        checkpoint, calibration="none", offline=True, folder=tmp_path, on_event=lambda event: phases.append(event.phase)
    )
    assert list(dict.fromkeys(phases)) == ["calibrate", "vision", "language", "connector", "context", "step"]
    assert {layer.graph for layer in analysis.layers} == {"vision", "language", "connector", "context", "step"}
    assert "assumed" in analysis.source
    assert list(tmp_path.iterdir()) == []
    analysis.write(tmp_path / "mine.toml", 0.2)
    assert load_recipe(tmp_path / "mine.toml").rules
