"""Memory of an edit, from the manifest alone: sums, what phases save, and what is refused."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.backends.base import Flavour, Processor, Residency
from dimrt.bundle import NANO, Bundle
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.manifest import Graph, TensorSpec
from dimrt.memory.count import count_bytes, evaluate, tensor_bytes
from dimrt.memory.fits import check_fits, check_request, estimate, tiled
from dimrt.memory.setting import Setting, axes
from dimrt.options import EditOptions
from dimrt.request import resolve
from dimrt.tiles import side_of


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


def test_polynomials_and_shapes_are_evaluated() -> None:
    assert evaluate({"": 5.0, "a": 2.0, "a*b": 3.0, "a*a": 1.0}, {"a": 10, "b": 7}) == 5 + 20 + 210 + 100
    spec = TensorSpec("pixels", "float16", (1, 3, "height*32", "width/8"))
    assert tensor_bytes(spec, {"height": 4, "width": 64}) == 2 * 3 * 128 * 8


def test_weights_are_the_data_files_and_half_is_widened_on_the_processor(nano: Bundle) -> None:
    cpu = {use.graph: use for use in estimate(nano).uses}
    gpu = {use.graph: use for use in count_bytes(nano, Setting((128, 128)), "tensorrt", None).uses}
    for name, graph in nano.manifest.graphs.items():
        assert gpu[name].weights == nano.manifest.files[graph.file + ".data"].size
        assert cpu[name].weights == 2 * gpu[name].weights
    facts = nano.manifest.designer.language
    rows = axes(nano.manifest, Setting((128, 128)))["language"]["length"]
    assert gpu["language"].cache == 2 * facts.layers * facts.kv_heads * facts.head_dim * rows * 2


def test_one_role_at_a_time_takes_the_larger_role(nano: Bundle) -> None:
    together = estimate(nano, residency="all")
    phased = estimate(nano, residency="phased")
    assert phased.peak == phased.overhead + max(phased.of_role("designer"), phased.of_role("painter"))
    assert phased.peak < together.peak


def test_on_a_gpu_both_roles_keep_their_scratch_memory(nano: Bundle) -> None:
    gpu = count_bytes(nano, Setting((128, 128)), "tensorrt", None)
    assert gpu.peak == gpu.overhead + gpu.of_role("designer") + gpu.of_role("painter")
    assert gpu.peak > gpu.overhead + sum(use.weights + use.cache for use in gpu.uses) + max(
        use.activations + use.tensors for use in gpu.uses
    )


@given(plan=st.integers(0, 150), more=st.integers(0, 50))
def test_a_longer_plan_never_takes_less(plan: int, more: int) -> None:
    nano = Bundle.open(NANO, verify="layout")
    assert estimate(nano, plan_tokens=plan).peak <= estimate(nano, plan_tokens=plan + more).peak


def test_an_edit_that_cannot_fit_is_refused_with_what_would(nano: Bundle) -> None:
    setting = Setting((128, 128))
    phased = count_bytes(nano, replace(setting, residency="phased"), "tensorrt", None).peak
    whole = count_bytes(nano, setting, "tensorrt", None).peak
    check_fits(nano, "tensorrt", whole, setting)
    with pytest.raises(ResourceError, match=r"takes about 0\.\d GB.*residency = \"phased\" in the target takes"):
        check_fits(nano, "tensorrt", (phased + whole) // 2, setting)
    with pytest.raises(ResourceError, match="more memory"):
        check_fits(nano, "tensorrt", 1000, setting)


def test_a_processor_goes_phased_where_both_roles_do_not_fit(nano: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    together, phased = estimate(nano, residency="all").peak, estimate(nano, residency="phased").peak
    for free, residency, fits in (
        (together, "all", True),
        (together - 1, "phased", True),
        (phased - 1, "phased", False),
    ):
        monkeypatch.setattr("dimrt.backends.base.available_memory", lambda free=free: free)
        found = estimate(nano)
        assert (found.setting.residency, found.fits) == (residency, fits)
    monkeypatch.setattr("dimrt.backends.base.available_memory", lambda: together - 1)
    found = estimate(nano, residency="all")
    assert not found.fits and found.advice[0].startswith("--residency phased takes")


def test_memory_that_no_one_knows_refuses_nothing(nano: Bundle) -> None:
    check_fits(nano, "tensorrt", None, Setting((128, 128)))


def test_a_bundle_without_polynomials_must_be_exported_again(nano: Bundle) -> None:
    graphs = {name: msgspec.structs.replace(graph, activations=()) for name, graph in nano.manifest.graphs.items()}
    old = Bundle(nano.path, msgspec.structs.replace(nano.manifest, graphs=graphs), nano.digest)
    with pytest.raises(BundleError, match="export it again"):
        estimate(old)


def test_a_size_the_painter_cannot_take(nano: Bundle) -> None:
    with pytest.raises(InputError, match="multiples of 16"):
        estimate(nano, size=(100, 128))


def large(bundle: Bundle) -> Bundle:
    """A stand-in: the bundle with an autoencoder for pictures of any size, which takes most of the memory at 1024."""
    facts = bundle.manifest

    def free(name: str, graph: Graph) -> Graph:
        if name not in ("encode", "decode"):
            return graph
        (spec,) = graph.inputs
        inputs = (msgspec.structs.replace(spec, shape=(*spec.shape[:2], "height", "width")),)
        bytes_of_a_cell = 1e6 if name == "decode" else 1e6 / facts.resolution.latent_factor**2
        return msgspec.structs.replace(graph, inputs=inputs, activations=({"height*width": bytes_of_a_cell},))

    graphs = {name: free(name, graph) for name, graph in facts.graphs.items()}
    resolution = msgspec.structs.replace(facts.resolution, side=1024)
    return Bundle(bundle.path, msgspec.structs.replace(facts, graphs=graphs, resolution=resolution), bundle.digest)


SIDES = [None, *(side_of(128, count) * 8 for count in (2, 3, 4))]
"""Of the tiles of 128 cells, each 8 pixels: none, two, three, four in a row."""


def peaks(bundle: Bundle, flavour: Flavour, setting: Setting) -> list[int]:
    """Bytes of a setting with each of `SIDES`, the most first."""
    found = [count_bytes(bundle, replace(setting, tile=tile), flavour, None).peak for tile in SIDES]
    assert found == sorted(found, reverse=True) and found[-1] < 0.2 * found[0]
    return found


def test_the_autoencoder_goes_into_tiles_where_the_picture_does_not_fit_whole(
    nano: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest that fit: the result's bytes change no more than they must."""
    bundle = large(nano)
    needed = peaks(bundle, "onnxruntime", Setting((1024, 1024), residency="phased"))
    for free, tile in zip(needed, SIDES, strict=True):
        monkeypatch.setattr("dimrt.backends.base.available_memory", lambda free=free: free)
        found = estimate(bundle)
        assert (found.fits, found.setting.residency, found.setting.tile) == (True, "phased", tile)
    monkeypatch.setattr("dimrt.backends.base.available_memory", lambda: needed[-1] - 1)
    assert not estimate(bundle).fits and estimate(bundle).setting.tile is None


def test_a_request_is_told_to_run_in_tiles_and_an_asked_for_tile_is_kept(
    nano: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, graphs = large(nano), ("encode", "decode")
    needed = peaks(bundle, "onnxruntime", Setting((1024, 1024), graphs=graphs))
    for free, asked, tile in ((needed[0], None, None), (needed[1], None, SIDES[1]), (needed[0], 256, 256)):
        monkeypatch.setattr("dimrt.backends.base.available_memory", lambda free=free: free)
        request = resolve(EditOptions(tile=asked), bundle.manifest)
        assert check_request(bundle, request, Processor(), "all", graphs).tile == tile
    monkeypatch.setattr("dimrt.backends.base.available_memory", lambda: needed[2])
    with pytest.raises(ResourceError, match="this step"):
        check_request(bundle, resolve(EditOptions(tile=SIDES[1]), bundle.manifest), Processor(), "all", graphs)


def test_an_engines_least_size_bounds_the_tiles(nano: Bundle) -> None:
    """A target whose engines begin at 60 cells leaves only two tiles in a row."""
    bundle, setting = large(nano), Setting((1024, 1024))
    shapes = {"decode": {"height": (60, 128, 128), "width": (60, 128, 128)}}
    needed = peaks(bundle, "tensorrt", setting)
    for free, tile in ((needed[1], SIDES[1]), (needed[2], None)):
        found = tiled(bundle, count_bytes(bundle, setting, "tensorrt", free), SmallDevice(free, shapes))
        assert (found.setting.tile, found.fits) == (tile, tile is not None)


@dataclass(frozen=True)
class SmallDevice:
    """A stand-in target."""

    memory_bytes: int
    shapes: Mapping[str, Mapping[str, tuple[int, int, int]]]
    name: str = "standin"
    flavour: Flavour = "tensorrt"
    residency: Residency = "all"
    pinned: Mapping[str, int] = field(default_factory=dict)


def test_where_the_autoencoder_knows_one_size_there_are_no_tiles(nano: Bundle) -> None:
    found = count_bytes(nano, Setting((128, 128)), "onnxruntime", 1000)
    assert tiled(nano, found, Processor()) is found


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("graph", "at"),
    [
        ("vision", {"windows": 196, "patches": 3136, "tokens": 784}),
        ("context", {"batch": 2, "rows": 10000}),
        ("step", {"batch": 2, "rows": 8000}),
        ("connector", {"rows": 50000}),
    ],
)
def test_onnx_runtime_takes_no_more_than_estimated(
    nano: Bundle, graph: str, at: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At shapes large enough that the bytes of the code itself don't matter; and the estimate isn't wildly above."""
    monkeypatch.setattr("dimrt.memory.count.axes", lambda manifest, setting: dict.fromkeys(manifest.graphs, AXES | at))
    use = next(u for u in count_bytes(nano, Setting((128, 128)), "onnxruntime", None).uses if u.graph == graph)
    helper = Path(__file__).parent / "peak_of_graph.py"
    words = [sys.executable, str(helper), str(nano.path), graph, json.dumps(at)]
    grown = int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    assert grown <= use.activations + use.tensors + SLACK
    assert use.activations + use.tensors <= 4 * grown


AXES = {"windows": 1, "patches": 16, "tokens": 1, "rows": 1, "length": 128, "batch": 1, "height": 16, "width": 16}
SLACK = 30_000_000
"""Bytes: threads, kernels loaded on first use, what the allocator rounds up."""
