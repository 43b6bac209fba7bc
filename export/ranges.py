"""What an export knows of activations before it quantizes: measured on requests, or assumed."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from dimrt.bundle import Bundle
from dimrt.export.precision import Recipe
from dimrt.export.precision.calibrate import calibrate, measured_by
from dimrt.export.precision.calibration_data import CalibrationData
from dimrt.export.precision.statistics import Statistics, assumed_statistics
from dimrt.export.writer import Writer


def assumed_ranges(writer: Writer, graphs: Sequence[str]) -> Statistics:
    """Ranges of unit-normal activations for every product with a weight."""
    widths = {}
    for graph in graphs:
        parameters = writer.define(graph).module.named_parameters()
        widths[graph] = {name: int(tensor.shape[0]) for name, tensor in parameters if tensor.dim() == 2}
    return assumed_statistics(widths)


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
