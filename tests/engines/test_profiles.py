"""Profiles: within target and model, consistent between dimensions that depend on each other."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.bundle import Bundle
from dimrt.engines.profiles import engine_profiles, graph_profile, pinned, tensor_shapes
from dimrt.engines.target import load_target, target_names
from dimrt.errors import BundleError
from dimrt.manifest import GRAPHS, Manifest, TensorSpec
from dimrt.vision import condition_size

BUILT = [name for name in target_names() if name != "cpu"]


def at_full_size(manifest: Manifest) -> Manifest:
    """The same graphs with the facts of DIM-4.6B, its painter's sides free."""
    replace = msgspec.structs.replace
    vision = replace(
        manifest.designer.vision, patch_size=14, window_size=112, max_pixels=12_845_056, condition_side=1024
    )
    language = replace(manifest.designer.language, max_positions=128_000)
    step = manifest.graphs["step"]
    latent = TensorSpec("latent", "float32", (1, 32, "height", "width"))
    pixels = TensorSpec("pixels", "float32", (1, 3, "height", "width"))
    sized = {"step": (latent, *step.inputs[3:]), "encode": (pixels,), "decode": (latent,)}
    return replace(
        manifest,
        designer=replace(manifest.designer, vision=vision, language=language),
        painter=replace(manifest.painter, max_condition=8192),
        resolution=replace(manifest.resolution, side=1024, multiple=32, latent_factor=32, aspect="free"),
        graphs={name: replace(graph, inputs=sized.get(name, graph.inputs)) for name, graph in manifest.graphs.items()},
    )


@pytest.mark.parametrize("full", [False, True], ids=["nano", "full"])
@pytest.mark.parametrize("name", BUILT)
def test_every_named_dimension_has_ordered_bounds(nano: Bundle, name: str, full: bool) -> None:
    manifest = at_full_size(nano.manifest) if full else nano.manifest
    target = load_target(name)
    for graph in GRAPHS:
        profile = graph_profile(manifest, graph, target)
        named = {size for spec in manifest.graphs[graph].inputs for size in spec.shape if isinstance(size, str)}
        assert profile.keys() == named
        for axis, (least, usual, most) in profile.items():
            assert 1 <= least <= usual <= most, (graph, axis)
            if axis in target.shapes[graph]:
                assert most <= target.shapes[graph][axis][2]


@pytest.mark.parametrize("name", BUILT)
def test_full_size_holds_an_ordinary_edit(nano: Bundle, name: str) -> None:
    manifest, target = at_full_size(nano.manifest), load_target(name)
    vision = graph_profile(manifest, "vision", target)
    width, height = condition_size(manifest.designer.vision)
    assert (width, height) == (1036, 1036)
    assert vision["windows"][1] == 100 and vision["windows"][2] >= 100
    assert vision["tokens"][2] >= (width // 28) * (height // 28)
    assert graph_profile(manifest, "step", target)["height"] == (16, 32, 64)
    assert graph_profile(manifest, "encode", target)["width"] == (512, 1024, 2048)
    assert graph_profile(manifest, "language", target)["length"][0] >= 4096


def test_patches_follow_from_windows(nano: Bundle) -> None:
    profile = graph_profile(nano.manifest, "vision", load_target("rtx-4060"))
    (mask,) = [spec for spec in nano.manifest.graphs["vision"].inputs if spec.name == "window_mask"]
    assert [patches / windows for patches, windows in zip(profile["patches"], profile["windows"], strict=True)] == [
        mask.shape[3]
    ] * 3


def test_a_small_model_bounds_a_large_target(nano: Bundle) -> None:
    target = load_target("rtx-5090")
    language = graph_profile(nano.manifest, "language", target)
    assert language["length"] == (1024, 1024, 1024)
    assert language["tokens"][2] <= 1024
    assert graph_profile(nano.manifest, "context", target)["rows"][2] == nano.manifest.painter.max_condition
    assert pinned(language) == {"length": 1024}
    assert pinned(graph_profile(nano.manifest, "vision", target)) == {}


@given(bounds=st.lists(st.integers(1, 5000), min_size=3, max_size=3), length=st.integers(1, 9000))
def test_any_ordered_bounds_give_ordered_bounds(nano: Bundle, bounds: list[int], length: int) -> None:
    least, usual, most = sorted(bounds)
    shapes = {graph: dict.fromkeys(axes, (least, usual, most)) for graph, axes in load_target("h200").shapes.items()}
    target = msgspec.structs.replace(load_target("h200"), shapes=shapes, pinned={"length": length})
    for graph in GRAPHS:
        for low, middle, high in graph_profile(at_full_size(nano.manifest), graph, target).values():
            assert 1 <= low <= middle <= high


def test_decoding_has_a_profile_of_its_own_where_kernels_are_chosen_at_build_time(nano: Bundle) -> None:
    profile = graph_profile(nano.manifest, "language", load_target("orin-nano-8gb"))
    assert engine_profiles(profile, "language", "tensorrt-rtx") == (profile,)
    decode, read = engine_profiles(profile, "language", "tensorrt")
    assert decode["tokens"] == decode["rows"] == (1, 1, 1)
    assert read == profile
    step = graph_profile(nano.manifest, "step", load_target("orin-nano-8gb"))
    assert engine_profiles(step, "step", "tensorrt") == (step,)


def test_shapes_of_an_input(nano: Bundle) -> None:
    spec = TensorSpec("mask", "float16", (1, 1, "tokens", "length"))
    assert tensor_shapes(spec, {"tokens": (1, 2, 3), "length": (8, 8, 8)}) == ((1, 1, 1, 8), (1, 1, 2, 8), (1, 1, 3, 8))


def test_an_unknown_dimension_is_named(nano: Bundle) -> None:
    graph = nano.manifest.graphs["connector"]
    odd = msgspec.structs.replace(graph, inputs=(TensorSpec("hidden", "float16", (1, "rowz", 192)),))
    manifest = msgspec.structs.replace(nano.manifest, graphs={**nano.manifest.graphs, "connector": odd})
    with pytest.raises(BundleError, match=r"'rowz'.*`hidden`.*rows"):
        graph_profile(manifest, "connector", load_target("rtx-4060"))
