"""The sensitivity of a whole checkpoint, layer by layer."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from dimrt.bundle import Bundle
from dimrt.export import graphs
from dimrt.export.model.source import Source
from dimrt.export.pipeline import export_bundle, open_source
from dimrt.export.precision.analysis import OFFERED, Analysis, Layer, analyze_graph, left_out
from dimrt.export.precision.calibrate import calibrate
from dimrt.export.precision.calibration_data import calibration_data
from dimrt.export.precision.recipe import FP16, Recipe
from dimrt.export.precision.statistics import Statistics
from dimrt.export.progress import ExportEvent
from dimrt.export.ranges import assumed_ranges, check_calibration_memory
from dimrt.export.writer import Writer

Notify = Callable[[ExportEvent], None]


def analyze_checkpoint(
    checkpoint: str | Path | Source | None,
    *,
    designer: str | Path | None = None,
    autoencoder: str | Path | None = None,
    calibration: str | Path | None = None,
    offline: bool = False,
    base: Recipe = FP16,
    folder: Path | None = None,
    on_event: Notify | None = None,
) -> Analysis:
    """Measure what each format would cost each layer of a checkpoint, on real activations.

    The model is exported unquantized into a folder that is removed again, run on the calibration data, and its weights
    are read once, layer by layer.

    Args:
        checkpoint, designer, autoencoder, calibration, offline: as for `export_bundle`.
        base: gives the dtypes of the activations.
        folder: where there is room for an unquantized bundle; default the current folder.
        on_event: told of the phases "load", "calibrate" and each graph's name.

    Raises:
        InputError, CheckpointError, ResourceError: as `export_bundle`.
    """
    notify = on_event or (lambda event: None)
    source, name = open_source(checkpoint, designer, autoencoder, offline)
    plain = msgspec.structs.replace(base.unquantized(), name=f"{base.name} unquantized")
    writer = Writer(source, plain)
    names = [graph for graph in graphs.graph_names(source.config) if graph in OFFERED]
    total = len(names) + 1
    notify(ExportEvent("calibrate", 0, total))
    if source.random_seed is not None or calibration == "none":
        statistics = assumed_ranges(writer, names)
    else:
        statistics = _measured(source, plain, calibration, folder or Path(), notify, total)
    layers: list[Layer] = []
    for done, graph in enumerate(names, 1):
        notify(ExportEvent(graph, done, total))
        model, pieces = writer.make(writer.define(graph))
        layers += analyze_graph(model, pieces, graph, statistics)
    notify(ExportEvent(names[-1], total, total))
    return Analysis(Path(name).name, tuple(layers), statistics.source)


def _measured(
    source: Source, plain: Recipe, calibration: str | Path | None, folder: Path, notify: Notify, total: int
) -> Statistics:
    """Statistics of every product that could be quantized."""
    check_calibration_memory(Writer(source, plain), graphs.graph_names(source.config))
    with TemporaryDirectory(dir=folder, prefix=".analysis-") as temporary:
        bundle = Path(temporary) / "unquantized"
        export_bundle(
            source, bundle, plain, on_event=lambda event: notify(ExportEvent("calibrate", 0, total, note=event.note))
        )
        opened = Bundle.open(bundle, verify="layout")
        data = calibration_data(None if calibration is None else Path(calibration), opened.manifest)
        return calibrate(
            opened,
            lambda graph, weight: not left_out(graph, weight),
            data,
            on_item=lambda done, count: notify(ExportEvent("calibrate", 0, total)),
        )
