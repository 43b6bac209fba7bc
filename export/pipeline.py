"""From a checkpoint to a verified bundle."""

import importlib.metadata
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save

from dimrt.bundle import TOKENIZER, Bundle, write_manifest
from dimrt.errors import InputError, ResourceError
from dimrt.export import facts, graphs
from dimrt.export.graphs.cases import Cases
from dimrt.export.graphs.check import measure
from dimrt.export.graphs.contract import DTYPES, GraphDefinition
from dimrt.export.graphs.write import write_graph
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.dim import DIM, build_dim
from dimrt.export.model.published import HUB_IDS
from dimrt.export.precision import Recipe
from dimrt.files import atomic_folder
from dimrt.manifest import FORMAT_VERSION, Graph, Manifest, Measured, Provenance
from dimrt.prompt import Prompts

NANO = Path(__file__).parent / "nano" / "checkpoint"
PACKAGES = ("torch", "transformers", "diffusers", "onnx", "onnxscript")
"""What shapes a graph; their versions go into the provenance."""
OUT_OF_MEMORY = "can't allocate memory"
"""What torch's CPU allocator says, in a plain RuntimeError."""


@dataclass(frozen=True)
class ExportEvent:
    """Progress of an export.

    `phase` is "load", a graph's name, "tables" or "verify"; `done` of `total` phases are complete. `measured` comes
    with the event that completes a graph.
    """

    phase: str
    done: int
    total: int
    measured: Measured | None = None


def export_bundle(
    checkpoint: str | Path | None,
    out: str | Path,
    recipe: Recipe,
    *,
    designer: str | Path | None = None,
    autoencoder: str | Path | None = None,
    offline: bool = False,
    replace: bool = False,
    on_event: Callable[[ExportEvent], None] | None = None,
) -> Path:
    """Export a DIM checkpoint; the bundle appears at `out` only when it's complete and verified.

    Args:
        checkpoint: folder or hub id; "nano" for the one in this repository; None for the published DIM-4.6B-Edit.
        out: the bundle's folder. Its parent must exist.
        recipe: precision, from `dimrt.export.precision`.
        designer, autoencoder: folder or hub id of a part the checkpoint doesn't hold.
        offline: never download.
        replace: whether an existing folder is replaced; it stays untouched until the new bundle is complete.
        on_event: called as the export goes on. An exception it raises ends the export and leaves nothing behind.

    Returns:
        The bundle's folder.

    Raises:
        InputError, CheckpointError: the checkpoint or `out` can't be used.
        CheckFailed: a graph differs from torch by more than the recipe's limit.
        ResourceError: disk or memory is exhausted.
    """
    notify = on_event or (lambda event: None)
    if checkpoint == "nano" and not NANO.is_dir():
        raise InputError(
            "--checkpoint nano: its weights are in the repository, not in the installed package; "
            'clone the repository and `pip install -e ".[export]"` there'
        )
    source = NANO if checkpoint == "nano" else checkpoint or HUB_IDS["edit"]
    try:
        with atomic_folder(out, replace=replace) as folder:
            opened = Checkpoint.open(source, designer=designer, autoencoder=autoencoder, offline=offline)
            name = str(checkpoint or source) if not Path(source).is_dir() or checkpoint == "nano" else Path(source).name
            _export(opened, folder, recipe, name, notify)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and OUT_OF_MEMORY not in str(error):
            raise
        raise ResourceError("not enough memory to export this checkpoint; use a machine with more") from error
    return Path(out)


def _export(
    checkpoint: Checkpoint, folder: Path, recipe: Recipe, name: str, notify: Callable[[ExportEvent], None]
) -> None:
    """Write and verify everything in `folder`."""
    names = graphs.graph_names(checkpoint.config)
    done, total = 0, len(names) + 3

    def finished(phase: str, measured: Measured | None = None) -> None:
        nonlocal done
        done += 1
        notify(ExportEvent(phase, done, total, measured))

    notify(ExportEvent("load", 0, total))
    dim = build_dim(checkpoint)
    designer_folder = checkpoint.parts.designer_folder
    designer = facts.designer_facts(dim, designer_folder)
    shutil.copyfile(designer_folder / facts.TOKENIZER, folder / TOKENIZER)
    cases = Cases(dim, designer, Prompts(folder / TOKENIZER, designer))
    finished("load")
    (folder / "onnx").mkdir()
    records = {}
    for graph in names:
        notify(ExportEvent(graph, done, total))
        definition = graphs.define(graph, dim, recipe)
        path = folder / "onnx" / f"{graph}.onnx"
        write_graph(definition, path)
        measured = measure(definition, path, cases.of(graph), recipe.limits[graph])
        records[graph] = _record(definition, measured)
        finished(graph, measured)
    _write_tables(dim, folder / "tables", recipe)
    finished("tables")
    config = dim.config
    written = Manifest(
        format=FORMAT_VERSION,
        name=config.name,
        recipe=recipe.name,
        designer=designer,
        painter=facts.painter_facts(config),
        resolution=config.resolution,
        schedule=config.schedule,
        graphs=records,
        licence=config.licence,
        provenance=Provenance(
            checkpoint=name,
            tool=f"dimrt {importlib.metadata.version('dimrt')}",
            versions={package: importlib.metadata.version(package) for package in PACKAGES},
        ),
        files={},
    )
    write_manifest(folder, written)
    Bundle.open(folder, verify="full")
    finished("verify")


def _record(definition: GraphDefinition, measured: Measured) -> Graph:
    return Graph(
        file=f"onnx/{definition.name}.onnx", inputs=definition.inputs, outputs=definition.outputs, error=measured
    )


def _write_tables(dim: DIM, folder: Path, recipe: Recipe) -> None:
    """The rows the host reads: token embeddings, and the null condition.

    The embedding is the one tensor a bundle may hold twice: as rows here, and transposed as `language`'s tied head.
    """
    folder.mkdir()
    tables = {
        "embeddings": (dim.designer.get_input_embeddings().weight, "language"),
        "null_condition": (dim.painter.null_condition, "context"),
    }
    for name, (tensor, graph) in tables.items():
        rows = tensor.detach().to(DTYPES[recipe.dtypes[graph]]).contiguous()
        (folder / f"{name}.safetensors").write_bytes(save({name: rows}))
