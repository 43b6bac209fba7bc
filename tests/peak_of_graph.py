"""How far memory grows in runs of a graph in ONNX Runtime: a process of its own, so that nothing else is counted.

python peak_of_graph.py BUNDLE GRAPH AXES_AS_JSON prints bytes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dimrt.backends.cores import Threads
from dimrt.backends.onnxruntime import session_options
from dimrt.bundle import Bundle


def status(field: str) -> int:
    """A size in bytes from /proc: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(folder: str, graph: str, axes: str) -> None:
    """Run twice on zeros, as the runtime does: what the first run leaves behind counts too."""
    bundle, at = Bundle.open(folder, verify="layout"), json.loads(axes)
    options = session_options(Threads(1))
    session = ort.InferenceSession(str(bundle.graph_path(graph)), options, providers=["CPUExecutionProvider"])
    feeds = {
        spec.name: np.full([at.get(side, side) for side in spec.shape], 0, spec.dtype)
        for spec in bundle.manifest.graphs[graph].inputs
    }
    for value in feeds.values():
        value.fill(0)
    before = status("VmRSS") - sum(value.nbytes for value in feeds.values())
    for _ in range(2):
        session.run(None, feeds)
    sys.stdout.write(str(status("VmHWM") - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
