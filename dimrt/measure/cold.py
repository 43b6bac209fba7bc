"""The first edit of a fresh process: Python starts, the bundle is checked, every graph is loaded and run once.

The process is this module, run with `python -m`. Where the system allows it, the bundle's files are first dropped from
its page cache, so that they come from the disk as after a restart; how many bytes really did is in the result.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dimrt.errors import ResourceError

SECONDS = 1800
"""That a first edit may take."""
FROM_DISK = 0.5
"""Share of the bundle that must have come from the disk for the page cache to count as cold."""


def first_edit(case: dict[str, Any], files: list[Path], *, drop: bool) -> dict[str, Any]:
    """Run the first edit of a process and say what it took.

    Args:
        case: from `dimrt.measure.edits.Case.as_json`.
        files: of the bundle.
        drop: whether they are dropped from the page cache before.

    Returns:
        Seconds of the whole (`seconds`), of parts, of every graph; peak memory; whether the files came from the disk.

    Raises:
        ResourceError: the process failed or took too long; the message is its own.
    """
    asked = drop and drop_from_cache(files)
    start = time.perf_counter()
    command = [sys.executable, "-m", "dimrt.measure.cold"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(json.dumps(case).encode(), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ResourceError(f"the first edit of a process took over {SECONDS} s; measure without it") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    total = time.perf_counter() - start
    if process.returncode != 0:
        said = err.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise ResourceError(f"the first edit of a process of its own failed: {said[-1]}")
    document: dict[str, Any] = json.loads(out.splitlines()[-1])  # libraries may have had their say before
    document["seconds"] = total - document.pop("aside_s")
    document["start_s"] = document["seconds"] - sum(document[part] for part in ("import_s", "open_s", "edit_s"))
    document["page_cache"] = _page_cache(asked, document["read_bytes"], sum(file.stat().st_size for file in files))
    return document


def drop_from_cache(files: list[Path]) -> bool:
    """Ask the system to forget files it has read; False where it can't be asked."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return True


def _page_cache(asked: bool, read_bytes: int | None, size: int) -> str:
    """What may be said of where the bundle's bytes came from."""
    if not asked:
        return "warm"
    if read_bytes is None:
        return "dropped, not confirmed"
    return "cold" if read_bytes >= FROM_DISK * size else "warm, it could not be dropped"


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """The first edit of this process."""
    from dimrt.measure.memory import bytes_from_disk, peak_memory

    start = time.perf_counter()
    from dimrt.editor import Editor
    from dimrt.measure.edits import Case, edit_photo
    from dimrt.measure.recorder import Recorder

    imported = time.perf_counter()
    held = Case(**case)
    bundle = held.open()
    backend = held.backend(bundle)
    opened = time.perf_counter()
    recorder = Recorder(backend, bundle.manifest.graphs)
    watched: Any = recorder
    (edit,) = edit_photo(Editor(bundle, watched), held, 0, again=False)
    done = time.perf_counter()
    return {
        "import_s": imported - start,
        "open_s": opened - imported,
        "edit_s": edit.seconds,
        "aside_s": done - opened - edit.seconds,
        "phases": edit.phases,
        "graphs": {
            graph: {"load_s": seconds, "first_run_s": recorder.first_run(graph)}
            for graph, seconds in recorder.loads.items()
        },
        "peak_rss_bytes": peak_memory(),
        "read_bytes": bytes_from_disk(),
    }


def main() -> int:
    """A case on stdin, what was measured on stdout; an error is one line on stderr."""
    from dimrt.errors import DimrtError

    try:
        document = measure(json.load(sys.stdin))
    except DimrtError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    json.dump(document, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
