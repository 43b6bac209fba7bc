"""A bundle of the first layers of a published size, with random weights: what `dimrt bench` measures a processor with.

All widths are the real ones, so every graph's kernels and bytes a layer are; two layers fit a small machine. Its plans
are noise, so `bench` is told how many tokens to write.

    python benchmarks/shallow_bundle.py two-layers      # 5.3 GB, 90 seconds on two cores
    dimrt bench --bundle two-layers --device cpu --quick --steps 2 --guidance 7.5 --sustained 0 --rounds 2 \\
        --plan-tokens 12 -o cpu.json
    python benchmarks/estimate_error.py --bench cpu.json --bundle two-layers
"""

import argparse
from pathlib import Path

from peers.models import RECIPES, shallow_source, write_bundle

from dimrt.manifest import GRAPHS


def main() -> None:
    """Write it; what is there is left as it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="dim-4.6b-edit", help="a published size")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--side", type=int, default=256, help="of the pictures it paints, in pixels")
    parser.add_argument("--precision", choices=list(RECIPES), default="fp32")
    args = parser.parse_args()
    source = shallow_source(args.layers, args.side, args.model)
    write_bundle(source, args.precision, GRAPHS, args.folder)


if __name__ == "__main__":
    main()
