"""Which data sets a run reads, as a configuration names them: one `[[data]]` table each.

[[data]]
kind = "dim-edit"
path = "DIM-Edit/tos_dataset_edit.jsonl"

[[data]]
kind = "dim-t2i"
path = "DIM-T2I"
sources = { textvqa = "pictures/textvqa", sharegpt4o = "pictures/4o/image" }
weight = 0.5
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from dimrt.errors import InputError

Kind = Literal["dim-edit", "dim-t2i", "pairs", "folders", "precomputed"]
COLUMNS: dict[str, tuple[str, ...]] = {
    "dim-edit": ("id", "source", "target", "text"),
    "dim-t2i": ("id", "target", "text"),
    "pairs": ("id", "source", "target", "text"),
    "folders": (),
    "precomputed": (),
}
"""Fields of a row whose names a `columns` table may change."""


class DataSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One data set.

    Attributes:
        kind: its format. "dim-edit" is DIM-Edit's jsonl file (source, target, plan); "dim-t2i" is DIM-T2I's folder of
            jsonl files, or one of them (caption and picture); "pairs" is a jsonl, csv, tsv or parquet file of source,
            target and instruction (UltraEdit's form), or a folder of such files; "folders" is a folder with target/,
            maybe source/, and a .txt of the same name beside each target or in the folder itself; "precomputed" is
            what `dimrt precompute` wrote.
        path: the file or folder.
        images: folder that the picture paths of the rows are relative to and may not leave; default: where `path` is.
        sources: of "dim-t2i": for each source (the name of its jsonl file) the folder of its pictures. Sources that
            aren't named are not read.
        columns: names of the fields in the rows, where they aren't the format's own: "id", "source", "target", "text".
        weight: how often each of its examples is taken in one epoch.
        name: what its examples are called in keys and messages; default: the name of `path`.
        shapes: "same" refuses pairs whose source and target differ in aspect ratio by more than 3 %; "any" cuts each
            at its own centre.
    """

    kind: Kind
    path: Annotated[str, Meta(min_length=1)]
    images: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    weight: Annotated[float, Meta(gt=0)] = 1.0
    name: str | None = None
    shapes: Literal["same", "any"] = "same"

    def __post_init__(self) -> None:
        """Refuse what this kind doesn't know."""
        unknown = sorted(set(self.columns) - set(COLUMNS[self.kind]))
        if unknown:
            known = ", ".join(COLUMNS[self.kind]) or "none"
            raise ValueError(f'columns: {unknown[0]!r} is no field of "{self.kind}" (fields: {known})')
        if self.sources and self.kind != "dim-t2i":
            raise ValueError(f'sources: only "dim-t2i" has them, not "{self.kind}"; use `images`')
        if self.kind == "dim-t2i" and not self.sources:
            raise ValueError('sources: "dim-t2i" needs the picture folder of each source, as { NAME = "FOLDER" }')
        if self.kind in ("dim-t2i", "folders", "precomputed") and self.images is not None:
            raise ValueError(f'images: not for "{self.kind}"')

    @property
    def title(self) -> str:
        """What its examples are called."""
        return self.name or Path(self.path).stem

    def resolved(self, base: Path) -> "DataSpec":
        """The same with absolute paths; relative ones start from `base`."""
        return msgspec.structs.replace(
            self,
            path=str(_absolute(self.path, base)),
            images=None if self.images is None else str(_absolute(self.images, base)),
            sources={name: str(_absolute(folder, base)) for name, folder in self.sources.items()},
        )


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    data: Annotated[tuple[DataSpec, ...], Meta(min_length=1)]


def read_specs(path: Path) -> tuple[DataSpec, ...]:
    """The data sets of a TOML file of `[[data]]` tables; relative paths start from the file's folder.

    Raises:
        InputError: no such file, no TOML, or an entry that is wrong; the message names it.
    """
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a TOML file of [[data]] tables") from error
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: {error}; each set is one [[data]] table with kind and path") from error
    return tuple(spec.resolved(path.parent) for spec in file.data)


def _absolute(path: str, base: Path) -> Path:
    return (base / Path(path).expanduser()).resolve()
