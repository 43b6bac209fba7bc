"""Which kernels the CPU recipes really run on, by ONNX Runtime's profile.

For each recipe the graphs `language` (one token, and a prompt) and `step` are written with random weights of the
published width, profiled, and compared node by node with the float32 graph of the same run: the nodes have the same
names. For each kind of node: how many, how long, and for products by a weight operations a second and how many times
as fast as float32's. The proof that integer units multiply (VNNI or AMX on x86, dot products on Arm) is a rate that
float32 doesn't reach on this machine: `float32_ceiling`, a product of 1024 x 1024 x 1024 in the same run. For one token
the bytes of the weights bound the time, so only the ratio says something there.

For each node the least of the runs counts, and the recipes take turns, so a busy machine says nearly the same. At the
published width it wants 4 GB of memory; long products still want an idle machine.

    python benchmarks/kernels.py --threads 1 --runs 30
"""

import argparse
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import write_result

from dimrt.backends.cores import Threads
from dimrt.backends.onnxruntime import SLOW_FUSIONS, session_options

BASE = "fp32"
PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "MatMulNBits", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
KEYS = ("input_type_shape", "output_type_shape")
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


@dataclass(frozen=True)
class Node:
    """A node that ran: its name before ONNX Runtime renamed it, its kind, its least time, its multiply-adds twice.

    `operations` is 0 where it is no product by a weight.
    """

    name: str
    kind: str
    microseconds: int
    operations: int


def nodes_of(events: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The nodes of a profile."""
    found: dict[tuple[str, str], Node] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        facts = event["args"]
        name = event["name"].removesuffix("_kernel_time").split("/")[0]
        known = found.get((name, facts["op_name"]))
        if known is None or event["dur"] < known.microseconds:
            found[name, facts["op_name"]] = Node(name, facts["op_name"], event["dur"], _operations(facts))
    return list(found.values())


def _operations(facts: Mapping[str, Any]) -> int:
    """From the shapes of what enters and leaves; weights that were packed aren't listed among what enters."""
    enters, leaves = ([next(iter(one.values())) for one in facts[key]] for key in KEYS)
    if facts["op_name"] not in PRODUCTS or any(len(shape) > 2 for shape in enters[1:]):
        return 0
    return 2 * math.prod(leaves[0]) * int(enters[0][-1])


def kinds(nodes: Iterable[Node], base: Iterable[Node]) -> dict[str, dict[str, Any]]:
    """Kinds of node, slowest first; products by weights against the same products in float32."""
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[f"{node.kind} by weights" if node.operations else node.kind].append(node)
    same = {node.name: node for node in base if node.operations}
    total = sum(node.microseconds for group in groups.values() for node in group)
    table = {}
    for kind, group in sorted(groups.items(), key=lambda item: -sum(n.microseconds for n in item[1])):
        taken = sum(node.microseconds for node in group)
        row: dict[str, Any] = {"nodes": len(group), "us": taken, "share": round(taken / total, 3)}
        both = [node for node in group if node.operations and node.name in same]
        if both:
            rated = max(1, sum(node.microseconds for node in both))
            row["gop_per_s"] = round(sum(node.operations for node in both) / rated / 1e3, 1)
            row["times_fp32"] = round(sum(same[node.name].microseconds for node in both) / rated, 2)
        table[kind] = row
    return table


def profiled(graphs: Mapping[str, Path], sizes: Mapping[str, int], args: argparse.Namespace) -> dict[str, list[Node]]:
    """Nodes of the same graph in several recipes, which take turns."""
    sessions, bindings = {}, {}
    for recipe, path in graphs.items():
        options = session_options(Threads(args.threads))
        options.enable_profiling, options.profile_file_prefix = True, str(path.parent / "profile")
        session = ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
        sessions[recipe], bindings[recipe] = session, bound(session, sizes)
    for _ in range(args.runs):
        for recipe, session in sessions.items():
            session.run_with_iobinding(bindings[recipe])
    found = {}
    for recipe, session in sessions.items():
        profile = Path(session.end_profiling())
        found[recipe] = nodes_of(json.loads(profile.read_text()))
        profile.unlink()
    return found


def bound(session: ort.InferenceSession, sizes: Mapping[str, int]) -> ort.IOBinding:
    """Random inputs; a cache is written in place, as dimrt does."""
    binding, random = session.io_binding(), np.random.default_rng(0)
    outputs = {node.name for node in session.get_outputs()}
    for node in session.get_inputs():
        shape = [sizes.get(size, size) for size in node.shape]
        values = np.zeros(shape) if node.type == "tensor(int64)" else random.standard_normal(shape)
        value = ort.OrtValue.ortvalue_from_numpy(values.astype(TYPES[node.type]))
        binding.bind_ortvalue_input(node.name, value)
        if f"{node.name}_out" in outputs:
            binding.bind_ortvalue_output(f"{node.name}_out", value)
            outputs.remove(f"{node.name}_out")
    for name in outputs:
        binding.bind_output(name, "cpu")
    return binding


def ceiling(args: argparse.Namespace, folder: Path) -> float:
    """Billions of float32 operations a second in a product of 1024 x 1024 x 1024."""
    from dimrt.measure.onnxwriter import product_model

    size = 1024
    path = folder / "product.onnx"
    path.write_bytes(product_model("float32", size, np.ones((size, size), np.float32), "float32"))
    nodes = profiled({BASE: path}, {}, args)[BASE]
    return round(2 * size**3 / min(node.microseconds for node in nodes if node.kind in PRODUCTS) / 1e3, 1)


def write(recipes: list[str], args: argparse.Namespace, folder: Path) -> dict[str, dict[str, Path]]:
    """`language` and `step` in each recipe: graph to recipe to file."""
    from precision_sides import Graphs

    from dimrt.export.model.checkpoint import Checkpoint
    from dimrt.export.model.random import RandomCheckpoint
    from dimrt.export.model.source import Shallow
    from dimrt.export.pipeline import NANO
    from dimrt.export.precision.recipe import load_recipe

    source = Checkpoint.open(NANO) if args.model == "nano" else RandomCheckpoint.published(args.model)
    source = Shallow(source, args.layers)
    paths: dict[str, dict[str, Path]] = defaultdict(dict)
    for recipe in recipes:
        graphs = Graphs(source, load_recipe(recipe), tuple(args.graphs), folder / recipe)
        for name in args.graphs:
            paths[name][recipe] = graphs.graph_path(name)
    return paths


def main() -> None:
    """Write the graphs, profile, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dim-4.6b-edit", help="a published size with random weights, or nano")
    parser.add_argument("--recipes", default="int8-cpu,int4-cpu", help="beside float32")
    parser.add_argument("--graphs", default="language,step")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of the prompt")
    parser.add_argument("--side", type=int, default=16, help="side of the latent")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="nano, a few runs")
    parser.add_argument("--folder", type=Path, help="where the graphs are written for the time of the run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.model, args.runs = "nano", 10
    args.graphs = args.graphs.split(",")
    recipes = [BASE, *args.recipes.split(",")]
    from precision_speed import instructions

    measured: dict[str, Any] = {"instructions": instructions()}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measured["float32_ceiling_gop_per_s"] = ceiling(args, Path(folder))
        for graph, paths in write(recipes, args, Path(folder)).items():
            cases = {"": {"batch": 2, "rows": 128, "height": args.side, "width": args.side}}
            if graph == "language":
                cases = {
                    ", one token": {"tokens": 1, "length": 512, "rows": 1},
                    ", prompt": {"tokens": args.prompt, "length": 512, "rows": 1},
                }
            for case, sizes in cases.items():
                found = profiled(paths, sizes, args)
                measured[graph + case] = {recipe: kinds(nodes, found[BASE]) for recipe, nodes in found.items()}
    settings = {name: value for name, value in vars(args).items() if name not in ("folder", "out", "quick")}
    for name, recipes_table in measured.items():
        if isinstance(recipes_table, dict):
            print_table(name, recipes_table)
    write_result("kernels", settings, measured, args.out)


def print_table(name: str, recipes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """The slowest kinds of each recipe."""
    for recipe, table in recipes.items():
        print(f"{name}, {recipe}")
        for kind, row in list(table.items())[:6]:
            rate = f"{row['gop_per_s']:9.1f} Gop/s {row['times_fp32']:6.2f} x float32" if "gop_per_s" in row else ""
            print(f"  {kind:<34}{row['nodes']:>4} nodes {row['us']:>9} us {row['share']:>6.1%} {rate}")


if __name__ == "__main__":
    main()
