"""The autoencoder in tiles: peak memory against the whole picture, and how far the two pictures are apart, and where.

DC-AE f32c32 of the published shape with random weights decodes a latent made of a photo, whole and in tiles, each in a
process of its own, through the runtime's own code. How far the two pictures are apart says little with random weights:
attention's sums, which a tile takes over itself and not over the picture, weigh there as much as everything else and
change all of it. So what the convolutions do at a tile's edge is measured beside it: everything with attention done
whole, and the rest, which takes nearly all the memory, in tiles that share less or more.

    python benchmarks/tiles.py            # 1024 x 1024, a few minutes on two cores
    python benchmarks/tiles.py --quick    # an eighth of the width, 512 x 512
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from common import peak_memory_mib, write_result
from numpy.typing import NDArray

import dimrt.tiles
from dimrt.autoencoder import Autoencoder
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.manifest import FileRecord, Graph, Manifest, TensorSpec
from dimrt.memory.count import CONVOLVED
from dimrt.photo.read import read_photo
from dimrt.tiles import Grid, in_tiles, side_of, starts

Floats = NDArray[np.float32]
PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
FACTOR, CHANNELS = 32, 32
BRANCH = 0.3
"""Weight of the norms that end residual branches, as in `dimrt.export.model.random`."""
SHARES = (0, 2, 4, 6)
"""Cells that two tiles share, tried against each other; within half of it one goes over into the other."""
MEBIBYTE = 1 << 20


def photo_latent(side: int) -> Floats:
    """Patches of a photo by their 32 strongest components, each of spread 1: float32 [1, 32, side / 32, side / 32]."""
    from PIL import Image

    pixels = np.asarray(Image.fromarray(read_photo(PHOTO).pixels).resize((side, side)), np.float32) / 127.5 - 1
    cells = side // FACTOR
    patches = pixels.reshape(cells, FACTOR, cells, FACTOR, 3).transpose(0, 2, 1, 3, 4).reshape(cells * cells, -1)
    left, sizes, _ = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
    codes = left[:, :CHANNELS] * sizes[:CHANNELS]
    return np.ascontiguousarray((codes / codes.std(0)).T.reshape(1, CHANNELS, cells, cells), np.float32)


def make_model(divisor: int) -> Any:
    """The published autoencoder, its widths divided, with random weights."""
    import torch
    from diffusers import AutoencoderDC

    from dimrt.export.model.random import PARTS

    facts = json.loads((PARTS / "dc-ae" / "config.json").read_text())
    facts = {name: value for name, value in facts.items() if not name.startswith("_")}
    for name in ("encoder_block_out_channels", "decoder_block_out_channels"):
        facts[name] = [max(32, width // divisor) for width in facts[name]]
    torch.manual_seed(0)
    model = AutoencoderDC(**facts).eval().requires_grad_(False)
    for name, parameter in model.decoder.up_blocks.named_parameters():
        if name.endswith(("norm.weight", "norm_out.weight")):
            parameter.fill_(BRANCH)
    return model


def write_bundle(model: Any, folder: Path) -> dict[str, float]:
    """`decode` as the exporter writes it, in float32; returns its largest activation polynomial at 1 x 1 cells."""
    import torch

    from dimrt.export.graphs.activations import activations
    from dimrt.export.graphs.autoencoder import decode_definition
    from dimrt.export.graphs.weights import pieces, write_weights
    from dimrt.export.graphs.write import trace

    definition = decode_definition(model, torch.float32, None)
    traced = trace(definition)
    polynomials = activations(traced)
    write_weights(traced, pieces(definition, traced), folder / "decode.onnx")
    return max(polynomials, key=lambda named: named.get("height*width", 0.0))


def open_bundle(folder: Path) -> Bundle:
    """Nano's facts around the graph in the folder."""
    nano = Bundle.open(NANO, verify="layout").manifest
    ends = (
        (TensorSpec("latent", "float32", (1, CHANNELS, "height", "width")),),
        (TensorSpec("pixels", "float32", (1, 3, f"height*{FACTOR}", f"width*{FACTOR}")),),
    )
    decode = msgspec.structs.replace(nano.graphs["decode"], file="decode.onnx", inputs=ends[0], outputs=ends[1])
    graphs: dict[str, Graph] = {**nano.graphs, "decode": decode}
    resolution = msgspec.structs.replace(nano.resolution, latent_factor=FACTOR)
    records = {path.name: FileRecord(path.stat().st_size, "") for path in folder.glob("decode.onnx*")}
    facts: Manifest = msgspec.structs.replace(nano, graphs=graphs, resolution=resolution, files=records)
    return Bundle(folder, facts, "")


def decode_alone(args: argparse.Namespace) -> None:
    """The child process: decode, print seconds and peak memory, keep the picture."""
    backend = OrtBackend(open_bundle(args.folder), threads=args.threads)
    autoencoder = Autoencoder(open_bundle(args.folder), backend)
    autoencoder.tile = args.tile
    latent = np.load(args.folder / "latent.npy")
    backend.engine("decode")
    forget_peak()
    before, start = resident_mib(), time.perf_counter()
    pixels = autoencoder.decode(latent)
    seconds = time.perf_counter() - start
    autoencoder.decode(latent)  # an edit decodes twice: what the first time leaves behind counts
    peak = peak_memory_mib()
    np.save(args.folder / "pixels.npy", pixels)
    grown = None if peak is None or before is None else peak - before
    print(json.dumps({"seconds": round(seconds, 2), "peak_rss_mib": peak, "grown_mib": grown}))


def forget_peak() -> None:
    """Have the system count the process's peak memory anew: loading a graph has one of its own."""
    if Path("/proc/self/clear_refs").is_file():
        Path("/proc/self/clear_refs").write_text("5")


def resident_mib() -> int | None:
    """Resident memory now."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024)


def decoded(args: argparse.Namespace, folder: Path, tile: int | None) -> dict[str, Any]:
    """What a child process says, and its picture as "pixels"."""
    command = [sys.executable, __file__, "--folder", str(folder), "--threads", str(args.threads)]
    command += [] if tile is None else ["--tile", str(tile)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {**json.loads(said.strip().splitlines()[-1]), "pixels": np.load(folder / "pixels.npy")}


def compare(tiled: Floats, whole: Floats, borders: list[int]) -> dict[str, float]:
    """How far two pictures are apart, in the whole picture's own spread, and how that jumps where tiles end or meet.

    A seam is a line along which the error jumps from one column of pixels to the next. `jump_at_borders` is the largest
    mean jump at a border, `jump_elsewhere` the 99th percentile of the other columns'; both as shares of the picture's
    own mean difference between columns.
    """
    error = (tiled - whole)[0]
    jumps = np.abs(np.diff(error, axis=2)).mean((0, 1)) / np.abs(np.diff(whole[0], axis=2)).mean()
    at = np.zeros(len(jumps), bool)
    at[[border - 1 for border in borders if 0 < border <= len(jumps)]] = True
    return {
        "rms": round(float(error.std() / whole.std()), 5),
        "largest": round(float(np.abs(error).max() / whole.std()), 4),
        "jump_at_borders": round(float(jumps[at].max()), 4),
        "jump_elsewhere": round(float(np.quantile(jumps[~at], 0.99)), 4),
    }


def border_columns(cells: int, tile: int) -> list[int]:
    """Columns where a tile begins or ends inside the picture, and those where a ramp does."""
    begins, shared = starts(cells, tile), dimrt.tiles.overlap(tile)
    found = set()
    for left, right in pairwise(begins):
        middle = (left + tile + right) / 2
        found |= {right, left + tile, middle - shared / 4, middle + shared / 4}
    return sorted(round(cell * FACTOR) for cell in found)


def convolutions_alone(model: Any, latent: Floats) -> dict[str, Any]:
    """The picture with all up to the last attention done whole, and the rest in two tiles a side, by `SHARES`."""
    import torch

    decoder = model.decoder
    blocks = list(reversed(decoder.up_blocks))
    last = max(i for i, block in enumerate(blocks) if any("Attention" in type(m).__name__ for m in block.modules()))
    hidden = torch.from_numpy(latent)
    hidden = decoder.conv_in(hidden) + hidden.repeat_interleave(decoder.in_shortcut_repeats, dim=1)
    for block in blocks[: last + 1]:
        hidden = block(hidden)

    def rest(part: Floats) -> Floats:
        made = torch.from_numpy(np.ascontiguousarray(part))
        for block in blocks[last + 1 :]:
            made = block(made)
        made = decoder.norm_out(made.movedim(1, -1)).movedim(-1, 1)
        return np.asarray(decoder.conv_out(decoder.conv_act(made)).numpy())

    deep, cells, rows = hidden.numpy(), latent.shape[2], {}
    whole, units = rest(deep), (deep.shape[2] // cells, FACTOR)
    for share in SHARES:
        tile = (cells + share) // 2
        with sharing(share):
            tiled = in_tiles(rest, deep, Grid((cells, cells), (tile, tile)), units)
            rows[str(share)] = in_words(f"sharing {share} cells", compare(tiled, whole, border_columns(cells, tile)))
    return rows


@contextmanager
def sharing(share: int) -> Iterator[None]:
    """Tiles that share so many cells."""
    usual = dimrt.tiles.overlap
    dimrt.tiles.overlap = lambda _: share
    try:
        yield
    finally:
        dimrt.tiles.overlap = usual


def in_words(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the result, said while it's measured."""
    print(f"{name:<28}" + "  ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    return row


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every row."""
    model, latent = make_model(args.divisor), photo_latent(args.side)
    np.save(folder / "latent.npy", latent)
    polynomial = write_bundle(model, folder)
    cells = args.side // FACTOR

    def planned(side: int) -> int:
        return round(CONVOLVED * polynomial.get("height*width", 0) * side * side / MEBIBYTE)

    whole = decoded(args, folder, None)
    pixels = whole.pop("pixels")
    memory = {"whole": in_words("whole", {**whole, "estimated_mib": planned(cells)})}
    for count in (2, 3, 4):
        tile = side_of(cells, count)
        found = decoded(args, folder, tile * FACTOR)
        apart = compare(found.pop("pixels"), pixels, border_columns(cells, tile))
        row = {"tile": tile * FACTOR, **found, "estimated_mib": planned(tile), **apart}
        memory[f"{count} x {count}"] = in_words(f"{count} x {count} tiles", row)
    return {"memory": memory, "convolutions_alone_2_x_2_by_cells_shared": convolutions_alone(model, latent)}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1024, help="of the picture, in pixels")
    parser.add_argument("--divisor", type=int, default=1, help="of the autoencoder's widths")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="--side 512 --divisor 8")
    parser.add_argument("--out", type=Path)
    for name, kind in (("--folder", Path), ("--tile", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        decode_alone(args)
        return
    if args.quick:
        args.side, args.divisor = 512, 8
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(args, Path(folder))
    write_result("tiles", {key: getattr(args, key) for key in ("side", "divisor", "threads")}, measured, args.out)


if __name__ == "__main__":
    main()
