"""From a checkpoint to a verified bundle, tensor by tensor; what was interrupted goes on where it was."""

import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from dimrt.bundle import TOKENIZER, Bundle, write_manifest
from dimrt.errors import Cancelled, CheckFailed, CheckpointError, InputError, ResourceError
from dimrt.export import facts, graphs
from dimrt.export.graphs.activations import activations
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.work import work
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.published import HUB_IDS
from dimrt.export.model.source import Source
from dimrt.export.precision import Recipe
from dimrt.export.precision.calibration_data import CalibrationData, calibration_data
from dimrt.export.precision.statistics import Statistics
from dimrt.export.progress import ExportEvent, Progress
from dimrt.export.ranges import assumed_ranges, check_calibration_memory, measured_ranges
from dimrt.export.resources import check_disk, check_memory, out_of_memory
from dimrt.export.staging import Staging
from dimrt.export.verify import Verifier
from dimrt.export.writer import TABLES, Writer
from dimrt.files import explained
from dimrt.manifest import FORMAT_VERSION, Designer, FileRecord, Graph, Manifest, Measured, Provenance
from dimrt.prompt import Prompts

__all__ = ["ExportEvent", "export_bundle"]

NANO = Path(__file__).parent / "nano" / "checkpoint"
PACKAGES = ("torch", "transformers", "diffusers", "onnx", "onnxscript")
"""What shapes a graph; their versions go into the provenance."""
SOURCES = ("*.py", "graphs/*.py", "model/*.py", "precision/*.py")
"""Modules of this package that shape a bundle: an interrupted export goes on only with the same."""


def export_bundle(
    checkpoint: str | Path | Source | None,
    out: str | Path,
    recipe: Recipe,
    *,
    designer: str | Path | None = None,
    autoencoder: str | Path | None = None,
    calibration: str | Path | None = None,
    offline: bool = False,
    replace: bool = False,
    restart: bool = False,
    on_event: Callable[[ExportEvent], None] | None = None,
) -> Path:
    """Export a DIM checkpoint; the bundle appears at `out` only when it's complete and verified.

    Weights are read and written one at a time. An export that was interrupted (killed, cancelled, disk full) leaves a
    hidden folder beside `out`; the same call goes on from there.

    Args:
        checkpoint: folder or hub id; "nano" for the one in this repository; None for the published DIM-4.6B-Edit; or
            a source of tensors such as `RandomCheckpoint`.
        out: the bundle's folder. Its parent must exist.
        recipe: precision, from `dimrt.export.precision`.
        designer, autoencoder: folder or hub id of a part the checkpoint doesn't hold.
        calibration: folder of pictures and instructions to measure activations with, "none" to assume them; default
            what the package brings. Random weights are never calibrated.
        offline: never download.
        replace: whether an existing folder is replaced; it stays untouched until the new bundle is complete.
        restart: begin anew, whatever an interrupted export left.
        on_event: called as the export goes on. An exception it raises ends the export.

    Returns:
        The bundle's folder.

    Raises:
        InputError, CheckpointError: the checkpoint or `out` can't be used.
        CheckFailed: a graph differs from torch by more than the recipe's limit.
        ResourceError: disk or memory is too small, or exhausted.
    """
    notify = on_event or (lambda event: None)
    source, name = open_source(checkpoint, designer, autoencoder, offline)
    key = _key(source, name, recipe, str(calibration))
    with Staging(out, key, replace=replace, restart=restart) as staging:
        try:
            with explained(Path(out), staging.root):
                _Export(source, name, recipe, calibration, staging, notify).run()
            staging.publish()
        except (InputError, CheckpointError, CheckFailed):
            staging.discard()
            raise
        except (KeyboardInterrupt, Cancelled):
            _keep(staging)
            raise
        except ResourceError as error:
            raise ResourceError(f"{error}{_keep(staging)}") from error
        except (MemoryError, RuntimeError) as error:
            kept = _keep(staging)
            if not out_of_memory(error):
                raise
            message = "not enough memory to export this checkpoint; use a machine with more"
            raise ResourceError(message + kept) from error
    return Path(out)


def _keep(staging: Staging) -> str:
    """Leave what is finished for another run, and say so; what nobody would go on with is removed."""
    if staging.worth_keeping:
        return f". What is finished stays in {staging.root}: run the same command again to go on"
    staging.discard()
    return ""


def open_source(
    checkpoint: str | Path | Source | None,
    designer: str | Path | None,
    autoencoder: str | Path | None,
    offline: bool,
) -> tuple[Source, str]:
    """The source of tensors, and what the provenance calls it."""
    if checkpoint is not None and not isinstance(checkpoint, str | Path):
        return checkpoint, f"random numbers in the shapes of {checkpoint.config.name.removesuffix('-random')}"
    if checkpoint == "nano" and not NANO.is_dir():
        raise InputError(
            "--checkpoint nano: its weights are in the repository, not in the installed package; "
            'clone the repository and `pip install -e ".[export]"` there'
        )
    place = NANO if checkpoint == "nano" else checkpoint or HUB_IDS["edit"]
    opened = Checkpoint.open(place, designer=designer, autoencoder=autoencoder, offline=offline)
    return opened, str(checkpoint or place) if not Path(place).is_dir() or checkpoint == "nano" else Path(place).name


def _key(source: Source, name: str, recipe: Recipe, calibration: str) -> str:
    """What an export is of and made with: equal keys, equal bytes."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for module in sorted(path for pattern in SOURCES for path in folder.glob(pattern)):
        digest.update(module.read_bytes())
    facts = (name, source.fingerprint, msgspec.json.encode(recipe), calibration, _versions())
    digest.update(repr(facts).encode())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in PACKAGES}


class _Export:
    """One export into its staging folder."""

    def __init__(
        self,
        source: Source,
        name: str,
        recipe: Recipe,
        calibration: str | Path | None,
        staging: Staging,
        notify: Callable[[ExportEvent], None],
    ) -> None:
        self.source, self.name, self.recipe, self.calibration = source, name, recipe, calibration
        self.staging = staging
        self.names = graphs.graph_names(source.config)
        self.progress = Progress(len(self.names) + 3 + recipe.measured, notify)

    def run(self) -> None:
        """Write and verify everything."""
        progress, folder = self.progress, self.staging.folder
        progress.start("load", _found(self.staging))
        writer = Writer(self.source, self.recipe)
        designer_folder = self.source.parts.designer_folder
        designer = facts.designer_facts(writer.dim, designer_folder)
        shutil.copyfile(designer_folder / facts.TOKENIZER, folder / TOKENIZER)
        prompts = Prompts(folder / TOKENIZER, designer)
        data = self._calibration_data(self._manifest(designer, {}, None))
        self._check_resources(writer, measures=data is not None and not self._ranges.is_file())
        progress.finish()
        if self.recipe.measured:
            writer.statistics = self._statistics(writer, data)
        verifier = Verifier(writer, designer, prompts)
        self.staging.on_bytes = progress.wrote
        records = {graph: self._graph(graph, writer, verifier) for graph in self.names}
        self._tables(writer)
        progress.start("verify")
        statistics = writer.statistics
        manifest = self._manifest(designer, records, None if statistics is None else statistics.source)
        write_manifest(folder, manifest, self.staging.sums)
        Bundle.open(folder, verify="layout")
        progress.finish()

    @property
    def _ranges(self) -> Path:
        """Where what is known of the activations is kept."""
        return self.staging.root / "statistics.safetensors"

    def _check_resources(self, writer: Writer, measures: bool) -> None:
        """Refuse what can't end well; `measures` says that an unquantized bundle is made beside, and run."""
        size, beside = self._size(writer), 0
        if measures:
            unquantized = Writer(self.source, self.recipe.unquantized())
            beside = self._size(unquantized)
            check_calibration_memory(unquantized, self.names)
        present = sum(path.stat().st_size for path in self.staging.root.rglob("*") if path.is_file())
        check_disk(self.staging.root.parent, size + beside, present)
        check_memory(max(parameter.numel() for parameter in writer.dim.parameters()))
        self.progress.expect(size, sum(record.size for record in self.staging.sums.values()))

    def _size(self, writer: Writer) -> int:
        """About what a bundle will hold."""
        return sum(map(writer.graph_bytes, self.names)) + sum(map(writer.table_bytes, TABLES))

    def _calibration_data(self, facts: Manifest) -> CalibrationData | None:
        """What activations are measured on; None when they are assumed, or needn't be known."""
        if not self.recipe.measured or self.source.random_seed is not None or self.calibration == "none":
            return None
        return calibration_data(None if self.calibration is None else Path(self.calibration), facts)

    def _statistics(self, writer: Writer, data: CalibrationData | None) -> Statistics:
        """What is known of the activations; measured once, and kept for a run that goes on."""
        self.progress.start("calibrate")
        if self._ranges.is_file():
            statistics = Statistics.load(self._ranges)
        elif data is None:
            statistics = assumed_ranges(writer, self.names)
        else:
            statistics = self._measure_ranges(data)
        statistics.save(self._ranges)
        self.progress.finish()
        return statistics

    def _measure_ranges(self, data: CalibrationData) -> Statistics:
        bundle = self.staging.root / "unquantized"

        def export() -> None:
            export_bundle(
                self.source,
                bundle,
                self.recipe.unquantized(),
                on_event=lambda event: self.progress.start("calibrate", _unquantized(event)),
            )

        return measured_ranges(bundle, export, self.recipe, data, lambda: self.progress.start("calibrate"))

    def _graph(self, graph: str, writer: Writer, verifier: Verifier) -> Graph:
        """Write one graph and compare it with torch; one that is finished is left as it is."""
        self.progress.start(graph)
        finished = self.staging.finished(graph)
        if finished is None or finished.graph is None:
            definition = writer.define(graph)
            files, record = self._write(definition, writer)
            measured = verifier.measure(definition, self.staging.folder / record.file)
            record = msgspec.structs.replace(record, error=measured)
            self.staging.finish(graph, files, record)
        else:
            record = finished.graph
        self.progress.finish(record.error)
        return record

    def _write(self, definition: GraphDefinition, writer: Writer) -> tuple[dict[str, FileRecord], Graph]:
        """Write one graph; its record says that nothing was compared yet."""
        model, made = writer.make(definition)
        files = writer.write_made(definition.name, model, made, self.staging.folder, self.staging)
        limit = self.recipe.limits[definition.name]
        record = Graph(
            file=f"onnx/{definition.name}.onnx",
            inputs=definition.inputs,
            outputs=definition.outputs,
            error=Measured(max_abs=0.0, relative=0.0, limit=limit, cases=0),
            activations=activations(model),
            work=work(model),
        )
        return files, record

    def _tables(self, writer: Writer) -> None:
        self.progress.start("tables")
        for table in TABLES:
            if self.staging.finished(table) is None:
                self.staging.finish(table, writer.write_table(table, self.staging.folder, self.staging))
        self.progress.finish()

    def _manifest(self, designer: Designer, records: dict[str, Graph], calibration: str | None) -> Manifest:
        config = self.source.config
        return Manifest(
            format=FORMAT_VERSION,
            name=config.name,
            recipe=self.recipe.name,
            designer=designer,
            painter=facts.painter_facts(config),
            resolution=config.resolution,
            schedule=config.schedule,
            graphs=records,
            licence=config.licence,
            provenance=Provenance(
                checkpoint=self.name,
                tool=f"dimrt {importlib.metadata.version('dimrt')}",
                versions=_versions(),
                calibration=calibration,
                random_seed=self.source.random_seed,
            ),
            files={},
        )


def _unquantized(event: ExportEvent) -> str | None:
    """What is said of the export that calibration runs, when it completes a graph."""
    return None if event.measured is None else f"unquantized {event.phase} is ready to be measured"


def _found(staging: Staging) -> str | None:
    if staging.found == "another":
        return f"{staging.root} held another export that was interrupted; it was discarded"
    if staging.found == "this" and staging.worth_keeping:
        return f"going on with what an interrupted export left in {staging.root}"
    return None
