"""Export at full size: seconds, memory and disk, of random numbers and of real files, with a kill half way.

    python benchmarks/export_size.py FOLDER [--name dim-4.6b-edit] [--recipe fp16] [--case random|files ...]

`random` exports random weights made on the fly. `files` writes them as a checkpoint of bfloat16 shards, exports that,
kills the export when half of the bytes are written, gives the same command again, and compares the result with the
bundle of `random`, which must be there and hold the same weights. FOLDER needs room for a checkpoint and two bundles.
The bundle of `random` is kept there; everything else is removed.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from common import RESULTS, write_result

POLL_SECONDS = 0.2


@dataclass
class Run:
    """One process: wall seconds, largest resident memory in all and without mapped files (MiB), disk at most (bytes).

    `killed_at` is how much was on disk when it was killed.
    """

    seconds: float = 0.0
    peak_rss_mib: int = 0
    peak_anonymous_mib: int = 0
    peak_disk: int = 0
    killed_at: int | None = None


def watch(command: list[str], out: Path, kill_at: int | None = None) -> Run:
    """Run a command that makes `out`, and kill it when `kill_at` bytes are on disk."""
    run, began = Run(), time.monotonic()
    process = subprocess.Popen([sys.executable, *command])
    staging = out.parent / f".{out.name}.dimrt-export"
    while process.poll() is None:
        _memory(process.pid, run)
        held = disk(staging) + disk(out)
        run.peak_disk = max(run.peak_disk, held)
        if kill_at is not None and run.killed_at is None and held >= kill_at:
            process.send_signal(signal.SIGKILL)
            run.killed_at = held
        time.sleep(POLL_SECONDS)
    if process.returncode != (0 if run.killed_at is None else -signal.SIGKILL):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    run.seconds = round(time.monotonic() - began, 1)
    return run


def _memory(pid: int, run: Run) -> None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return
    held = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.endswith(" kB")}
    run.peak_rss_mib = max(run.peak_rss_mib, held.get("VmHWM", 0))
    run.peak_anonymous_mib = max(run.peak_anonymous_mib, held.get("RssAnon", 0))


def disk(folder: Path) -> int:
    """Bytes of the files in a folder."""
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:  # renamed while it was walked
        return 0


def export(arguments: list[str], recipe: str, out: Path, kill_at: int | None = None) -> Run:
    """One `dimrt export`."""
    return watch(["-m", "dimrt.cli", "export", *arguments, f"--{recipe}", "-o", str(out), "--offline"], out, kill_at)


def described(bundle: Path) -> dict[str, Any]:
    """What a bundle holds: bytes, and the error of each graph."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    errors = {name: graph["error"] for name, graph in manifest["graphs"].items()}
    return {"bundle_bytes": disk(bundle), "errors": errors}


def sums(bundle: Path) -> dict[str, str]:
    """The sha256 of each file."""
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    return {name: record["sha256"] for name, record in files.items()}


def from_files(name: str, recipe: str, folder: Path, like: Path) -> dict[str, Any]:
    """Write a checkpoint and export it with a kill half way; `like` is the bundle that must come of it."""
    checkpoint, out = folder / "checkpoint", folder / "from-files"
    want, size = sums(like), disk(like)
    written = watch(["-m", "dimrt.export.model.random", name, str(checkpoint)], checkpoint)
    try:
        source = ["--checkpoint", str(checkpoint)]
        killed = export(source, recipe, out, kill_at=size // 2)
        resumed = export(source, recipe, out)
        facts = described(out) | {"same_files": sums(out) == want}
    finally:
        for made in (checkpoint, out, folder / ".from-files.dimrt-export"):
            shutil.rmtree(made, ignore_errors=True)
    return {"write_checkpoint": asdict(written), "killed": asdict(killed), "resumed": asdict(resumed) | facts}


def earlier(path: Path, settings: dict[str, str]) -> dict[str, Any]:
    """What an earlier run measured with the same settings: a case that isn't run again stays."""
    if not path.is_file():
        return {}
    document = json.loads(path.read_text())
    return dict(document["measured"]) if document["settings"] == settings else {}


def now() -> str:
    """The time of a case, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def main() -> None:
    """Run the cases and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="dim-4.6b-edit")
    parser.add_argument("--recipe", default="fp16")
    parser.add_argument("--case", action="append", choices=["random", "files"])
    parser.add_argument("--out", type=Path, help="where the JSON goes [default: benchmarks/results/export-size.json]")
    chosen = parser.parse_args()
    settings = {"name": chosen.name, "recipe": chosen.recipe}
    measured = earlier(chosen.out or RESULTS / "export-size.json", settings)
    bundle = chosen.folder / f"{chosen.name}-random-{chosen.recipe}"
    if "random" in (chosen.case or ["random"]):
        run = export(["--random-weights", chosen.name], chosen.recipe, bundle)
        measured["random"] = {"when": now(), **asdict(run), **described(bundle)}
    if "files" in (chosen.case or ["files"]):
        measured["files"] = {"when": now(), **from_files(chosen.name, chosen.recipe, chosen.folder, bundle)}
    write_result("export-size", settings, measured, chosen.out)


if __name__ == "__main__":
    main()
