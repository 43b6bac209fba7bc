"""What an export knows of activations before it quantizes: measured on requests, or assumed."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from dimrt.backends.base import ROLES
from dimrt.bundle import Bundle
from dimrt.errors import ResourceError
from dimrt.export.precision import Recipe
from dimrt.export.precision.calibrate import calibrate, measured_by
from dimrt.export.precision.calibration_data import CalibrationData
from dimrt.export.precision.statistics import Statistics, assumed_statistics
from dimrt.export.writer import Writer
from dimrt.host import available_memory
from dimrt.memory.count import OVERHEAD, WIDENED


def assumed_ranges(writer: Writer, graphs: Sequence[str]) -> Statistics:
    """Ranges of unit-normal activations for every product with a weight."""
    widths = {}
    for graph in graphs:
        parameters = writer.define(graph).module.named_parameters()
        widths[graph] = {name: int(tensor.shape[0]) for name, tensor in parameters if tensor.dim() == 2}
    return assumed_statistics(widths)


def check_calibration_memory(unquantized: Writer, graphs: Sequence[str]) -> None:
    """Refuse a calibration that can't fit, before the unquantized bundle is written.

    ONNX Runtime holds the weights in float32 on a processor, one role's graphs after the other's. What the activations
    take beside them is known when the graphs are written: the editor that runs them refuses then.

    Args:
        unquantized: writes the model that is run.
        graphs: the bundle's.

    Raises:
        ResourceError: with both numbers, and what to do.
    """
    weights = dict.fromkeys(ROLES, 0)
    for role, names in ROLES.items():
        for graph in (name for name in names if name in graphs):
            wider = WIDENED if unquantized.recipe.dtypes[graph] == "float16" else 1
            weights[role] += wider * unquantized.graph_bytes(graph)
    larger = max(weights, key=lambda role: weights[role])
    needed, available = weights[larger] + OVERHEAD["onnxruntime"], available_memory()
    if available is not None and needed > available:
        raise ResourceError(
            f"calibration runs the unquantized model on the processor, where the weights of the {larger} alone take "
            f"{needed:,} bytes of memory, and {available:,} are available; use a machine with more, assume the ranges "
            "with --calibration none (less exact), or take a recipe that measures nothing, such as --fp16 or one whose "
            "rules are all w8a16"
        )


def measured_ranges(
    bundle: Path, export: Callable[[], object], recipe: Recipe, data: CalibrationData, on_item: Callable[[], None]
) -> Statistics:
    """Run requests through the unquantized model and measure what enters the products that `recipe` quantizes.

    Args:
        bundle: where the unquantized bundle is, or is made; it's removed in the end.
        export: makes it.
        on_item: called after each step of a request.
    """
    if not bundle.is_dir():
        export()
    opened = Bundle.open(bundle, verify="layout")
    statistics = calibrate(opened, measured_by(recipe), data, on_item=lambda done, total: on_item())
    shutil.rmtree(bundle)
    return statistics
