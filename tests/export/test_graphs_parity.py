"""The exported graphs, run by ONNX Runtime, against what the original inference recorded."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from dimrt import rope, schedule, vision
from dimrt.bundle import Bundle

Array = NDArray[Any]
PAINTER_LIMIT = 2e-5
"""Absolute, for a painter forward in float32."""


class Graphs:
    """Sessions of one bundle, opened when asked for."""

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle.open(folder)
        self.sessions: dict[str, ort.InferenceSession] = {}

    def run(self, graph: str, **feeds: Array) -> dict[str, Array]:
        """All outputs by name."""
        if graph not in self.sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            self.sessions[graph] = ort.InferenceSession(self.bundle.graph_path(graph), options)
        session = self.sessions[graph]
        return dict(zip((output.name for output in session.get_outputs()), session.run(None, feeds), strict=True))


@pytest.fixture(scope="module")
def edit(tiny_edit_bundle: Path) -> Graphs:
    return Graphs(tiny_edit_bundle)


@pytest.fixture(scope="module")
def generate(tiny_generate_bundle: Path) -> Graphs:
    return Graphs(tiny_generate_bundle)


@pytest.fixture(scope="module")
def of_painter(edit: Graphs, generate: Graphs) -> dict[str, Graphs]:
    return {"painter_tiny": edit, "painter_t2i_tiny": generate, "edit": edit, "t2i": generate}


def velocity(graphs: Graphs, latent: Array, source: Array | None, timestep: float, context: Array, row: int) -> Array:
    """The raw painter output of one row, read back from the data prediction at sigma 1: latent - data."""
    feeds = {} if source is None else {"source": source}
    outputs = graphs.run(
        "step",
        latent=latent,
        previous=np.zeros_like(latent),
        context=context,
        timestep=np.array([int(timestep)], np.float32),
        guidance=np.array([row], np.float32),
        coefficients=np.array([1, 0, 1, 0], np.float32),
        **feeds,
    )
    return latent - outputs["data"]


@pytest.mark.parametrize("painter", ["painter_tiny", "painter_t2i_tiny"])
@pytest.mark.parametrize("case", ["b1_8x8", "b1_6x10", "b2cfg_8x8", "b2cfg_6x10", "b2mix", "b1full"])
def test_painter(of_painter: dict[str, Graphs], reference: Path, painter: str, case: str) -> None:
    """Both variants, two sizes, with and without guidance, fractional timesteps, masked rows left out."""
    arrays = np.load(reference / f"{painter}.npz")
    latent, want, y, mask = (arrays[f"{case}.{name}"] for name in ("x", "out", "y", "mask"))
    sources = arrays[f"{case}.latents_condition"] if painter == "painter_tiny" else [None] * len(latent)
    graphs = of_painter[painter]
    shared = case.startswith("b2cfg")
    for row in range(len(latent)):
        valid = mask[0 if len(mask) == 1 else row].astype(bool)
        rows = slice(None) if shared else slice(row, row + 1)
        context = graphs.run("context", condition=y[rows, 0][:, valid])["context"]
        source = None if sources[row] is None else sources[row : row + 1]
        got = velocity(graphs, latent[row : row + 1], source, arrays[f"{case}.timestep"][row], context, row * shared)
        np.testing.assert_allclose(got[0], want[row], atol=PAINTER_LIMIT, rtol=0)


def sampler_runs() -> list[str]:
    """Names of the recorded runs."""
    arrays = np.load(Path(__file__).parent.parent / "fixtures" / "reference" / "sampler.npz")
    return sorted(name.removesuffix(".final") for name in arrays.files if name.endswith(".final"))


@pytest.mark.parametrize("run", sampler_runs())
def test_sampler_through_the_step_graph(of_painter: dict[str, Graphs], reference: Path, run: str) -> None:
    """Guidance and solver inside the graph: each recorded step, and the free run to the end in float64's sight."""
    arrays = np.load(reference / "sampler.npz")
    variant, name = run.split(".", 1)
    steps, scale, shift = (float(part.lstrip("scfghit")) for part in name.split("_"))
    graphs, valid = of_painter[variant], arrays[f"{variant}.mask"][0].astype(bool)
    y = arrays[f"{variant}.y"].reshape(-1, *arrays[f"{variant}.y"].shape[-2:])[-1:][:, valid]
    if scale != 1:
        null = graphs.bundle.table("null_condition")[: y.shape[1]]
        y = np.concatenate([null[None], y])
    context = graphs.run("context", condition=y)["context"]
    feeds = {"source": arrays[f"{variant}.latents_condition"]} if variant == "edit" else {}
    latent = arrays[f"{variant}.noise"]
    previous = np.zeros_like(latent)
    # The reference's own cancellation at the first step sets this floor, see its description of tolerances.
    recorded_limit = 2e-3 if steps <= 8 else 5e-4
    for i, step in enumerate(schedule.flow_schedule(int(steps), shift)):
        assert step.timestep == arrays[f"{run}.t_int"][i]
        outputs = graphs.run(
            "step",
            latent=latent,
            previous=previous,
            context=context,
            timestep=np.array([step.timestep], np.float32),
            guidance=np.array([scale], np.float32),
            coefficients=np.array(step.coefficients, np.float32),
            **feeds,
        )
        latent, previous = outputs["next_latent"], outputs["data"]
        np.testing.assert_allclose(latent[0], arrays[f"{run}.x_after"][i], atol=recorded_limit, rtol=0)
    np.testing.assert_allclose(latent, arrays[f"{run}.final_f64"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", ["image_a", "image_b"])
def test_vision_on_whole_and_ragged_windows(edit: Graphs, reference: Path, case: str) -> None:
    arrays = np.load(reference / "designer_tiny.npz")
    got = image_embeddings(edit, arrays, case)
    np.testing.assert_allclose(got, arrays[f"{case}.image_embeds"], atol=1e-4, rtol=0)


def image_embeddings(graphs: Graphs, arrays: Any, case: str) -> Array:
    """The picture of a case through the `vision` graph."""
    pixels = arrays[f"{case}.image_uint8"]
    view = vision.prepare(pixels, graphs.bundle.manifest.designer.vision, (pixels.shape[1], pixels.shape[0]))
    names = ("patches", "cos", "sin", "window_mask", "order")
    return graphs.run("vision", **{name: getattr(view, name) for name in names})["image_embeddings"]


class Reader:
    """The `language` graph with its cache."""

    def __init__(self, graphs: Graphs, length: int) -> None:
        self.graphs = graphs
        self.facts = graphs.bundle.manifest.designer.language
        shape = (1, self.facts.kv_heads, length, self.facts.head_dim)
        self.cache = {
            f"{kind}_{i}": np.full(shape, 7, np.float32) for i in range(self.facts.layers) for kind in ("key", "value")
        }
        self.length, self.position = length, 0

    def read(self, embeddings: Array, positions: Array, rows: list[int]) -> tuple[Array, Array]:
        """Hidden states [S,D] and logits [rows,V] of the next S tokens; embeddings [S,D], positions [3,S]."""
        count = embeddings.shape[0]
        cos, sin = rope.rotary(positions, self.facts)
        seen = np.arange(self.length) <= self.position + np.arange(count)[:, None]
        outputs = self.graphs.run(
            "language",
            embeddings=embeddings[None],
            cos=cos,
            sin=sin,
            mask=np.where(seen, np.float32(0), np.float32(vision.MASKED))[None, None],
            position=np.array([self.position], np.int64),
            rows=np.array(rows, np.int64),
            **self.cache,
        )
        self.cache = {name: outputs[f"{name}_out"] for name in self.cache}
        self.position += count
        return outputs["hidden"][0], outputs["logits"][0]


@pytest.fixture(scope="module", params=["any runtime", "ONNX Runtime alone"])
def editing(request: pytest.FixtureRequest, edit: Graphs) -> Graphs:
    return edit if request.param == "any runtime" else Graphs(request.getfixturevalue("tiny_cpu_bundle"))


@pytest.mark.parametrize("case", ["image_a", "image_b", "text"])
def test_language_reads_in_pieces_and_decodes_greedily(editing: Graphs, reference: Path, case: str) -> None:
    """Hidden states, logits and 16 greedy tokens; the cache starts with rubbish in its unused rows."""
    arrays = np.load(reference / "designer_tiny.npz")
    ids = arrays[f"{case}.input_ids"][0]
    table = editing.bundle.table("embeddings")
    embeddings = np.asarray(table[ids])
    if case != "text":
        embeddings[ids == editing.bundle.manifest.designer.tokens.image_pad] = image_embeddings(editing, arrays, case)
    positions = arrays[f"{case}.position_ids"][:, 0]
    reader, half = Reader(editing, len(ids) + 20), len(ids) // 2
    first, first_logits = reader.read(embeddings[:half], positions[:, :half], [0, half - 1])
    rest, rest_logits = reader.read(embeddings[half:], positions[:, half:], [len(ids) - half - 1])
    want = arrays[f"{case}.logits"][0]
    np.testing.assert_allclose(np.concatenate([first, rest]), arrays[f"{case}.last_hidden_state"][0], atol=1e-4, rtol=0)
    np.testing.assert_allclose(first_logits, want[[0, half - 1]], atol=2e-4, rtol=0)
    np.testing.assert_allclose(rest_logits[0], want[-1], atol=2e-4, rtol=0)

    logits, tokens, ended = rest_logits[0], [], editing.bundle.manifest.designer.tokens.stop
    delta = int(arrays[f"{case}.rope_deltas"].item())
    for i in range(16):
        np.testing.assert_allclose(logits, arrays[f"{case}.greedy_logits"][i], atol=2e-4, rtol=0)
        allowed = logits.copy()
        allowed[list(ended)] = -np.inf
        tokens.append(int(allowed.argmax()))
        place = np.full((3, 1), len(ids) + i + delta, np.int64)
        logits = reader.read(np.asarray(table[tokens[-1:]]), place, [0])[1][0]
    assert tokens == arrays[f"{case}.greedy_tokens"].tolist()


def test_connector(edit: Graphs, reference: Path) -> None:
    arrays = np.load(reference / "projector_tiny.npz")
    got = edit.run("connector", hidden=arrays["x"])["condition"]
    np.testing.assert_allclose(got, arrays["out"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["a", "b"])
def test_autoencoder(edit: Graphs, generate: Graphs, reference: Path, case: str) -> None:
    """Two shapes; in the smaller one the original uses the quadratic form of its attention."""
    arrays = np.load(reference / "autoencoder_tiny.npz")
    latent = edit.run("encode", pixels=arrays[f"{case}.image"])["latent"]
    np.testing.assert_allclose(latent, arrays[f"{case}.latent_scaled"], atol=1e-4, rtol=0)
    for graphs in (edit, generate):
        for given, want in (("latent_scaled", "decoded"), ("random_latent_scaled", "random_decoded")):
            pixels = graphs.run("decode", latent=arrays[f"{case}.{given}"])["pixels"]
            np.testing.assert_allclose(pixels, arrays[f"{case}.{want}"], atol=1e-4, rtol=0)
