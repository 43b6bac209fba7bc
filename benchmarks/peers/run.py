"""dimrt against its peers, side by side in one run: same machine, same weights, same threads, same tokens and inputs.

Every side is a process of its own, in its peer's environment (`install.py`), and they take turns; the first one changes
with the round. Ratios are of two times of one round. What each side gives is compared with what dimrt gives: a side
that computes something else is said to, and a side that can't run is recorded with its error.

    python benchmarks/peers/install.py --all
    python benchmarks/peers/run.py                  # everything; wants an idle machine and 16 GB of memory
    python benchmarks/peers/run.py --quick          # small models, few rounds: does it all work?
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import write_result
from peers import models, pictures
from peers.driver import Pace, Start, take_turns
from peers.install import FOLDER, interpreter
from peers.record import STUDENT, Case, lines, record, without_compiled, without_folders

from dimrt.manifest import GRAPHS

HERE = sys.executable
INSTRUCTION = "make it look like an old sepia photo"
WIDE = {"layers": 2, "side": 512}
"""DIM-4.6B's widths with random numbers, as small as its edits are still made of what large ones are."""
WIDE_PLAN = 48
GUESSING, LATER = "dimrt, with guesses", "dimrt, with guesses from plans before"
PLANNING = ("vision", "language")
NO_TORCH = "PyTorch itself has no weight-only kernels of this precision on the CPU"


def main() -> None:
    """Prepare, compare, record."""
    args = arguments()
    pace = Pace(rounds=args.rounds, warm_up=args.warm_up)
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for case in cases(args, folder):
            case = without_compiled(case) if args.no_compile else case
            print(f"== {case.name}", file=sys.stderr)
            turns = take_turns(case.starts, case.tasks, pace, folder / "sides" / case.name.replace(" ", "-"))
            measured[case.name] = without_folders(record(case, turns), (folder, args.peers))
            print(lines(measured[case.name]), file=sys.stderr)
    settings = {name: value for name, value in vars(args).items() if name not in ("peers", "folder", "out")}
    write_result("peers-quick" if args.quick else "peers", settings, measured, args.out)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small models and few rounds")
    parser.add_argument("--peers", type=Path, default=FOLDER, help="where install.py put the environments")
    parser.add_argument("--parts", default="edit,designer,painter")
    parser.add_argument("--edits", help="of nano,wide")
    parser.add_argument("--designers", help=f"of {','.join(models.DESIGNERS)}")
    parser.add_argument("--precisions", default=",".join(models.RECIPES))
    parser.add_argument("--painters", help=f"of {','.join(pictures.PAINTERS)}")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled sides out: they take minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--prompt", type=int, help="tokens read")
    parser.add_argument("--tokens", type=int, help="tokens written")
    parser.add_argument("--folder", type=Path, help="keep the models and logs there; what is there is used again")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = ("edits", "designers", "painters", "rounds", "prompt", "tokens")
    quick = ("nano", "nano,middle", "nano", 3, 64, 16)
    whole = ("nano,wide", "nano,middle,wide", "nano,published", 5, 512, 48)
    for name, value in zip(names, quick if args.quick else whole, strict=True):
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("parts", "edits", "designers", "precisions", "painters"):
        setattr(args, name, getattr(args, name).split(","))
    return args


def cases(args: argparse.Namespace, folder: Path) -> Iterator[Case]:
    """Every comparison that is asked for, prepared when its turn comes."""
    for name in args.edits if "edit" in args.parts else ():
        yield edit_case(args, folder) if name == "nano" else wide_edit_case(args, folder / "edit-wide")
    for name in args.designers if "designer" in args.parts else ():
        source = models.designer_source(name, folder / name / "source")
        models.write_library_folders(source, folder / name)
        # Groups of 128 don't divide nano's widths, and it is bound by overhead, not by reading weights.
        for precision in ("fp32",) if name == "nano" else args.precisions:
            models.write_bundle(source, precision, ("language",), folder / name / f"bundle-{precision}")
            case = designer_case(args, folder / name, name, precision, source.parts.designer.text_config.vocab_size)
            yield with_guesses(args, case, folder / name) if name == "nano" else case
    for name in args.painters if "painter" in args.parts else ():
        for graph in pictures.GRAPHS:
            yield painter_case(args, folder / f"painter-{name}", name, graph)


def here(args: argparse.Namespace, module: str) -> Start:
    """A side in the environment that runs this."""
    return Start(HERE, f"peers.{module}", {"OMP_NUM_THREADS": str(args.threads)})


def there(args: argparse.Namespace, peer: str, module: str) -> Start:
    """A side in its peer's environment."""
    return Start(str(interpreter(args.peers, peer)), f"peers.{module}", {"OMP_NUM_THREADS": str(args.threads)})


def edit_case(args: argparse.Namespace, folder: Path) -> Case:
    """The whole edit of nano: 30 guided steps on all sides, and dimrt as nano was distilled to be used."""
    source = pictures.painter_source("nano")
    bundle = models.write_bundle(source, "fp32", GRAPHS, folder / "edit" / "bundle")
    common = edit_task(args, bundle) | {"shallow": None, "guesses": True, "plan_tokens": None}
    equal = common | {"steps": 30, "guidance": 7.5, "schedule": "teacher"}
    tasks = {
        "dimrt": equal | {"who": "dimrt", "differs": ""},
        "torch eager": equal | {"who": "eager", "differs": "the original's semantics: nothing is shared between turns"},
        "torch compiled": equal | {"who": "compiled", "differs": "as eager; vision, painter and autoencoder compiled"},
        STUDENT: common
        | {
            "steps": 1,
            "guidance": 1.0,
            "schedule": "auto",
            "who": "dimrt",
            "differs": "the student's one step, another picture",
        },
    }
    settings = {key: equal[key] for key in ("steps", "guidance", "instruction", "seed")}
    return Case("edit nano fp32", {name: here(args, "side_edit") for name in tasks}, tasks, {}, settings)


def wide_edit_case(args: argparse.Namespace, folder: Path) -> Case:
    """The whole edit at DIM-4.6B's widths: 30 guided steps. Random weights repeat themselves, so nobody guesses."""
    source = models.shallow_source(**WIDE)
    bundles = {name: models.write_bundle(source, name, GRAPHS, folder / name) for name in ("fp32", "int8")}
    common = {"steps": 30, "guidance": 7.5, "schedule": "teacher", "shallow": WIDE, "guesses": False}
    common |= {"plan_tokens": WIDE_PLAN}
    tasks = {
        "dimrt": common | edit_task(args, bundles["fp32"]) | {"who": "dimrt", "differs": "no guesses"},
        "torch eager": common
        | edit_task(args, bundles["fp32"])
        | {"who": "eager", "differs": "the original's semantics: nothing is shared between turns"},
        "dimrt, int8": common
        | edit_task(args, bundles["int8"])
        | {
            "who": "dimrt",
            "differs": "no guesses; int8-cpu: other numbers, another plan of the same length",
        },
    }
    settings = {key: common[key] for key in ("steps", "guidance", "plan_tokens", "shallow")}
    return Case("edit wide", {name: here(args, "side_edit") for name in tasks}, tasks, {}, settings)


def edit_task(args: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    """What all sides of an edit are told."""
    return {"bundle": str(bundle), "threads": args.threads, "instruction": INSTRUCTION, "seed": 233}


def designer_case(args: argparse.Namespace, folder: Path, name: str, precision: str, vocabulary: int) -> Case:
    """Read a prompt of numbers, write tokens greedily."""
    prompt, tokens = min(args.prompt, 256) if name == "nano" else args.prompt, args.tokens
    task = {
        "folder": str(folder),
        "bundle": str(folder / f"bundle-{precision}"),
        "library": str(folder / "vl"),
        "text": str(folder / "text"),
        "precision": precision,
        "threads": args.threads,
        "prompt": np.random.default_rng(0).integers(20, vocabulary - 20, prompt).tolist(),
        "tokens": tokens,
    }
    starts = {"dimrt": here(args, "side_dimrt_text")} | text_peers(args)
    left_out = {}
    if precision == "fp32":
        starts |= {name: here(args, "side_torch_text") for name in ("torch eager", "torch compiled")}
    else:
        left_out = {"torch": NO_TORCH}
    tasks = {side: task | {"compiled": side == "torch compiled"} for side in starts}
    settings = {"precision": precision, "prompt": prompt, "tokens": tokens, "cache": "prompt and tokens"}
    return Case(f"designer {name} {precision}", starts, tasks, left_out, settings)


def with_guesses(args: argparse.Namespace, case: Case, folder: Path) -> Case:
    """The comparison of nano's designer with two more sides, which write real plans and guess."""
    scenes = models.write_scenes(folder / "scenes")
    bundle = models.write_bundle(models.designer_source("nano", folder), "fp32", PLANNING, folder / "bundle-plans")
    task = case.tasks["dimrt"] | {"bundle": str(bundle), "scenes": str(scenes)}
    starts = dict.fromkeys((GUESSING, LATER), here(args, "side_dimrt_plan"))
    tasks = {name: task | {"keeps": name == LATER} for name in starts}
    return replace(case, starts={**case.starts, **starts}, tasks={**case.tasks, **tasks})


def text_peers(args: argparse.Namespace) -> dict[str, Start]:
    """The peers that read and write text."""
    return {
        "llama.cpp": there(args, "llama_cpp", "side_llama"),
        "ONNX Runtime GenAI": there(args, "onnxruntime_genai", "side_ort_genai"),
        "OpenVINO GenAI": there(args, "openvino", "side_openvino_text"),
    }


def painter_case(args: argparse.Namespace, folder: Path, name: str, graph: str) -> Case:
    """One graph of the painter or the autoencoder."""
    sizes = pictures.PAINTERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    bundle, inputs = pictures.write_inputs(pictures.painter_source(name), sizes, graph, folder, args.threads)
    task = {
        "model": name,
        "graph": graph,
        "bundle": str(bundle),
        "inputs": str(inputs),
        "threads": args.threads,
    }
    starts = {
        "dimrt": here(args, "side_dimrt_graph"),
        "OpenVINO": there(args, "openvino", "side_openvino_graph"),
        "diffusers eager": here(args, "side_torch_graph"),
        "diffusers compiled": here(args, "side_torch_graph"),
    }
    tasks = {side: task | {"compiled": side == "diffusers compiled"} for side in starts}
    with np.load(inputs) as arrays:
        shapes = {key: list(arrays[key].shape) for key in arrays.files}
    return Case(f"{graph} {name} fp32", starts, tasks, {}, {"layers": sizes.layers, "shapes": shapes})


if __name__ == "__main__":
    main()
