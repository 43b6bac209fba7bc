"""What an export knows of activations before it quantizes: measured on real requests, or assumed."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dimrt.bundle import Bundle
from dimrt.export.precision.calibrate import calibrate, measured_by
from dimrt.export.precision.calibration_data import calibration_data
from dimrt.export.precision.statistics import Statistics, assumed_statistics
from dimrt.export.writer import Writer


def assumed(writer: Writer, graphs: Sequence[str]) -> Statistics:
    """Ranges of unit-normal activations for every product with a weight."""
    widths = {}
    for graph in graphs:
        parameters = writer.define(graph).module.named_parameters()
        widths[graph] = {name: int(tensor.shape[0]) for name, tensor in parameters if tensor.dim() == 2}
    return assumed_statistics(widths)


def measured(writer: Writer, bundle: Path, folder: Path | None, on_item: Callable[[int, int], None]) -> Statistics:
    """Run requests through an unquantized bundle and measure what enters the products that the recipe quantizes.

    Args:
        writer: whose recipe it is.
        bundle: with the recipe's dtypes.
        folder: pictures and instructions; None for what the package brings.
        on_item: told how much of how much is done.
    """
    opened = Bundle.open(bundle, verify="layout")
    data = calibration_data(folder, opened.manifest)
    return calibrate(opened, measured_by(writer.recipe), data, on_item=on_item)
