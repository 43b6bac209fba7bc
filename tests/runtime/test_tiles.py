"""Tiles: they cover the picture evenly, become one picture without a seam, and are taken only where they are needed."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dimrt.autoencoder import Autoencoder
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.manifest import TensorSpec
from dimrt.photo.fit import Frame, to_levels
from dimrt.photo.read import read_photo
from dimrt.subject import Subject
from dimrt.tiles import LEAST, Grid, in_tiles, overlap, starts, weights

Floats = NDArray[np.float32]
PHOTO = Path(__file__).parents[2] / "benchmarks" / "photos" / "coffee.jpg"
FACTOR = 8


@given(length=st.integers(1, 300), tile=st.integers(LEAST, 64), unit=st.integers(1, 4))
def test_tiles_cover_evenly_and_their_weights_sum_to_one(length: int, tile: int, unit: int) -> None:
    begins = starts(length, tile)
    assert begins[0] == 0 and begins[-1] == max(length - tile, 0)
    gaps = np.diff(begins)
    assert (gaps > 0).all() and (gaps <= tile - overlap(tile)).all() and np.ptp(gaps) <= 1 if len(gaps) else True
    total = np.zeros(length * unit, np.float32)
    for begin, weight in weights(length, tile, unit).items():
        assert (weight >= 0).all() and len(weight) == min(tile, length) * unit
        total[begin * unit : begin * unit + len(weight)] += weight
    assert np.abs(total - 1).max() < 1e-6  # one rounding of float32


def blurred(source: Floats, reach: int) -> Floats:
    """A stand-in for a graph of convolutions: zeros beyond the border, each result sees `reach` samples around it."""
    padded = np.pad(source, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    sides = range(2 * reach + 1)
    height, width = source.shape[2:]
    shifted = [padded[:, :, y : y + height, x : x + width] for y in sides for x in sides]
    return np.mean(shifted, axis=0, dtype=np.float32)


def picture(width: int, height: int) -> Floats:
    """A photo, float32 [1, 3, height, width] from -1 to 1."""
    with Image.open(PHOTO) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((width, height)), np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)


@pytest.mark.parametrize("size", [(96, 128), (57, 200)])
def test_no_seam_shows_where_convolutions_see_a_tiles_edge(size: tuple[int, int]) -> None:
    """The whole picture's border has the same error in every tile there: it must not come back inside the picture."""
    source = picture(size[1], size[0])
    expected = blurred(source, reach=2)
    grid = Grid(size, (24, 24))
    error = in_tiles(lambda tile: blurred(tile, 2), source, grid, (1, 1)) - expected
    cut = np.concatenate([expected[..., :24], expected[..., 24:]], axis=3)  # what tiles without overlap would make
    for left in range(0, size[1], 24):
        cut[..., left : left + 24] = blurred(source[..., left : left + 24], 2)
    assert np.abs(cut - expected).max() > 0.3
    # A quarter of what neighbours share, 1.5 samples, is left out, and the ramp begins at nothing.
    assert np.abs(error).max() < 0.01


def test_every_tile_has_the_same_shape_and_results_keep_their_scale() -> None:
    shapes = set()

    def enlarged(tile: Floats) -> Floats:
        shapes.add(tile.shape)
        return tile.repeat(4, axis=2).repeat(4, axis=3)

    source = picture(77, 41)
    made = in_tiles(enlarged, source, Grid((41, 77), (16, 16)), (1, 4))
    assert shapes == {(1, 3, 16, 16)}
    assert np.abs(made - enlarged(source)).max() < 1e-6


class StandInEngine:
    """Enlarges latents eight times, or takes the mean of pixels; counts its runs and knows a longest side."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.fed: list[tuple[int, ...]] = []

    def limit(self, axis: str) -> int | None:
        assert axis in ("height", "width")
        return self.most

    def run(self, feeds: Mapping[str, Any], *, keep: Collection[str] = ()) -> dict[str, Any]:
        ((name, value),) = feeds.items()
        self.fed.append(value.shape[2:])
        if name == "latent":
            return {"pixels": value[:, :3].repeat(FACTOR, axis=2).repeat(FACTOR, axis=3)}
        blocks = value.reshape(1, 3, value.shape[2] // FACTOR, FACTOR, value.shape[3] // FACTOR, FACTOR)
        return {"latent": blocks.mean((3, 5), dtype=np.float32)}


class StandInBackend:
    """Host arrays are its tensors."""

    def __init__(self, most: int | None = None) -> None:
        self.engines = {"decode": StandInEngine(most), "encode": StandInEngine(None if most is None else most * FACTOR)}

    def engine(self, graph: str) -> StandInEngine:
        return self.engines[graph]

    def to_host(self, tensor: Floats) -> Floats:
        return tensor

    def to_device(self, array: Floats) -> Floats:
        return array

    def shape(self, tensor: Floats) -> tuple[int, ...]:
        return tensor.shape

    def finish(self) -> None:
        """Nothing is queued."""


def free_size(bundle: Bundle) -> Bundle:
    """The bundle with an autoencoder that takes pictures of any size."""

    def freed(spec: TensorSpec) -> TensorSpec:
        return msgspec.structs.replace(spec, shape=(*spec.shape[:2], "height", "width"))

    facts = bundle.manifest
    graphs = {
        name: msgspec.structs.replace(graph, inputs=tuple(map(freed, graph.inputs)))
        if name in ("encode", "decode")
        else graph
        for name, graph in facts.graphs.items()
    }
    return Bundle(bundle.path, msgspec.structs.replace(facts, graphs=graphs), bundle.digest)


LATENT = np.random.default_rng(1).standard_normal((1, 32, 20, 33)).astype(np.float32)


def test_what_fits_is_taken_whole(nano: Bundle) -> None:
    backend = StandInBackend(most=33)
    autoencoder = Autoencoder(free_size(nano), backend)
    whole = autoencoder.decode(LATENT)
    autoencoder.tile = 33 * FACTOR
    assert np.array_equal(autoencoder.decode(LATENT), whole)
    assert backend.engines["decode"].fed == [(20, 33), (20, 33)]
    assert autoencoder.tile_of((20 * FACTOR, 33 * FACTOR)) is None


@pytest.mark.parametrize(("most", "asked", "side"), [(16, None, 16), (None, 12 * FACTOR, 12), (16, 12 * FACTOR, 12)])
def test_what_an_engine_cannot_take_or_what_was_asked_for_is_taken_in_tiles(
    nano: Bundle, most: int | None, asked: int | None, side: int
) -> None:
    backend = StandInBackend(most)
    autoencoder = Autoencoder(free_size(nano), backend)
    autoencoder.tile = asked
    expected = LATENT[:, :3].repeat(FACTOR, axis=2).repeat(FACTOR, axis=3)
    assert np.abs(autoencoder.decode(LATENT) - expected).max() < 1e-5
    assert set(backend.engines["decode"].fed) == {(side, side)}
    assert autoencoder.tile_of((20 * FACTOR, 33 * FACTOR)) == side * FACTOR


def test_a_photo_is_encoded_in_tiles_too_and_kept_by_their_size(nano: Bundle) -> None:
    backend = StandInBackend()
    autoencoder = Autoencoder(free_size(nano), backend)
    subject, frame = Subject(read_photo(PHOTO)), Frame((600, 400), (240, 160), (0, 0, 240, 160))
    whole = autoencoder.encode(subject, frame)
    autoencoder.tile = 96
    assert not autoencoder.has(subject, frame)
    tiled = autoencoder.encode(subject, frame)
    assert autoencoder.has(subject, frame)
    assert np.abs(whole - tiled).max() < 1e-6
    fed = backend.engines["encode"].fed
    assert fed[0] == (160, 240) and set(fed[1:]) == {(96, 96)}
    autoencoder.tile = None
    autoencoder.encode(subject, frame)
    assert len(backend.engines["encode"].fed) == len(fed)


def test_nano_takes_a_larger_photo_in_tiles_as_it_takes_a_part_of_it(nano: Bundle, nano_backend: OrtBackend) -> None:
    """Nano's graphs know 128 pixels and their convolutions leave a patch of 8 alone: tiles make what a part makes."""
    autoencoder = Autoencoder(nano, nano_backend)
    pixels = picture(320, 232)
    grid = Grid((29, 40), (16, 16))
    encode, decode = nano_backend.engine("encode"), nano_backend.engine("decode")
    latent = in_tiles(lambda tile: encode.run({"pixels": tile})["latent"], pixels, grid, (FACTOR, 1))
    made = autoencoder.decode(latent)
    assert made.shape == pixels.shape
    for top, left in ((3, 5), (13, 11), (13, 24)):
        part = decode.run({"latent": latent[:, :, top : top + 16, left : left + 16]})["pixels"]
        rows = slice(top * FACTOR, (top + 16) * FACTOR)
        columns = slice(left * FACTOR, (left + 16) * FACTOR)
        # The manifest states decode's own error (half precision): 1.2e-3; two runs may differ by twice that.
        assert np.abs(made[..., rows, columns] - part).max() < 2 * 1.2e-3
    error = to_levels(made) - to_levels(pixels)
    borders = [left * FACTOR for left in (*starts(40, 16)[1:], *(begin + 16 for begin in starts(40, 16)[:-1]))]
    jumps = np.abs(np.diff(error, axis=1)).mean((0, 2))
    patches = jumps[FACTOR - 1 :: FACTOR]  # where patches meet anyway
    assert max(jumps[border - 1] for border in borders) < 2 * np.quantile(patches, 0.9)
