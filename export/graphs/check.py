"""Comparison of an exported graph with the library, in ONNX Runtime on the CPU."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from dimrt.errors import CheckFailed
from dimrt.export.graphs.cases import Array, Case
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.manifest import Measured


def measure(
    definition: GraphDefinition, path: Path, cases: Iterable[Case], limit: float, layers: int | None = None
) -> Measured:
    """The worst error of the graph in `path` over `cases`, each output for itself.

    `layers` is set when the graph has only so many of the model's layers.

    Raises:
        CheckFailed: an error is over `limit`, or a value isn't finite; the message names graph, output and numbers.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    dtypes = {spec.name: np.dtype(spec.dtype) for spec in definition.inputs}
    largest, worst, worst_output, count = 0.0, 0.0, "", 0
    for case in cases:
        names = list(case.expected)
        feeds = {name: value.astype(dtypes[name], copy=False) for name, value in case.feeds.items()}
        for name, got in zip(names, session.run(names, feeds), strict=True):
            absolute, relative = errors(got, case.expected[name])
            largest = max(largest, absolute)
            if relative > worst or not worst_output:
                worst, worst_output = relative, name
        count += 1
    if not worst <= limit:
        raise CheckFailed(
            f"graph {definition.name} is out of tolerance: output {worst_output} differs from torch by {worst:.3g} "
            f"(relative), the limit is {limit:.3g}; nothing was written. Export with --fp32, or report this model"
        )
    return Measured(max_abs=largest, relative=worst, limit=limit, cases=count, layers=layers)


def errors(got: Array, expected: Array) -> tuple[float, float]:
    """(largest absolute difference, norm of the difference over norm of the reference); inf when not finite."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf"), float("inf")
    difference = got.astype(np.float64) - expected.astype(np.float64)
    norm = float(np.linalg.norm(expected.astype(np.float64)))
    return float(np.abs(difference).max()), float(np.linalg.norm(difference)) / max(norm, 1e-12)
