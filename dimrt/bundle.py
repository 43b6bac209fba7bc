"""A bundle on disk: a closed list of files described by `manifest.json`.

Nothing inside a bundle is parsed before the list of files, their kinds, sizes and (in full verification) sha256 sums
agree with the manifest.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dimrt.errors import BundleError
from dimrt.files import atomic_write
from dimrt.integrity import MANIFEST, check_layout, check_names, check_sums, checksum, walk
from dimrt.manifest import FORMAT_VERSION, FileRecord, Manifest

TOKENIZER = "tokenizer.json"
MANIFEST_LIMIT = 16 * 2**20
"""Bytes; a manifest is some tens of kilobytes."""
HEADER_LIMIT = 2**20
"""Bytes of a table's safetensors header; it describes one tensor."""
NANO = Path(__file__).parent / "bundles" / "nano"
TABLE_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


class _Format(msgspec.Struct):
    """The one field that every format version has."""

    format: int


class Bundle:
    """A checked bundle.

    Attributes:
        path: the folder.
        manifest: its parsed manifest.
        digest: sha256 (hex) of `manifest.json`, which holds the sums of all other files: the identity of the bundle.
    """

    def __init__(self, path: Path, manifest: Manifest, digest: str) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = digest
        self._tables: dict[str, NDArray[Any]] = {}

    @classmethod
    def open(cls, path: str | Path, *, verify: Literal["layout", "full"] = "full") -> "Bundle":
        """Check a bundle and open it.

        Args:
            path: the bundle's folder.
            verify: "full" reads every byte; "layout" checks the list of files, their kinds and sizes only.

        Raises:
            BundleError: not a bundle, of a newer format, or different from its manifest; the message names the file.
        """
        root = Path(path)
        if not root.is_dir():
            raise BundleError(f"{root} is not a bundle: no such folder; check the path or make one with `dimrt export`")
        raw = _read_manifest(root)
        manifest = _parse_manifest(root, raw)
        check_layout(root, manifest.files)
        if verify == "full":
            check_sums(root, manifest.files)
        return cls(root, manifest, hashlib.sha256(raw).hexdigest())

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer, in Hugging Face tokenizers format."""
        return self._listed(TOKENIZER)

    def graph_path(self, name: str) -> Path:
        """The ONNX file of a graph; its external data lies beside it."""
        return self._listed(self._graph_file(name))

    def graph_bytes(self, name: str) -> int:
        """Bytes of a graph's files: its ONNX file and the weights beside it."""
        file = self._graph_file(name)
        return sum(
            record.size for held, record in self.manifest.files.items() if held == file or held.startswith(f"{file}.")
        )

    def table(self, name: str) -> NDArray[Any]:
        """The table `tables/<name>.safetensors`, float16 or float32, memory-mapped: rows are read when indexed."""
        if name not in self._tables:
            self._tables[name] = _map_table(self._listed(f"tables/{name}.safetensors"), name)
        return self._tables[name]

    def _graph_file(self, name: str) -> str:
        graph = self.manifest.graphs.get(name)
        if graph is None:
            held = ", ".join(sorted(self.manifest.graphs)) or "none"
            raise BundleError(f"{self.path} has no graph `{name}` (it has {held}); use a bundle made for this task")
        return graph.file

    def _listed(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise BundleError(f"{self.path} lists no file {name}; export the bundle again")
        return self.path / name


def write_manifest(folder: str | Path, manifest: Manifest, known: Mapping[str, FileRecord] | None = None) -> Manifest:
    """Record every file of `folder` (its `files` field is filled in here) and write `manifest.json`.

    Args:
        known: sizes and sums of files that were summed while they were written; the others are read.

    Returns:
        The manifest as written.

    Raises:
        BundleError: the folder holds something that a bundle can't (a link, a name that isn't portable), or a known
            file has another size.
    """
    root, known = Path(folder), known or {}
    sizes = {name: size for name, size in walk(root).items() if name != MANIFEST}
    check_names(root, sizes)
    records = {name: known.get(name) or FileRecord(size=sizes[name], sha256=checksum(root / name)) for name in sizes}
    records = dict(sorted(records.items()))
    check_layout(root, records)
    complete = msgspec.structs.replace(manifest, format=FORMAT_VERSION, files=records)
    with atomic_write(root / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(complete), indent=2) + b"\n")
    return complete


def find_bundle(explicit: str | Path | None) -> tuple[Path, str]:
    """Choose the bundle: the explicit one, else `DIMRT_BUNDLE`, else the configured one, else the packaged nano.

    The word `nano` stands for the packaged one anywhere.

    Returns:
        The folder, and where the choice came from ("--bundle", "DIMRT_BUNDLE", the configuration file, "packaged").

    Raises:
        BundleError: the chosen one is not there. A choice that fails is never replaced by the next one.
    """
    if explicit is not None:
        return _existing(str(explicit), "--bundle", Path())
    variable = os.environ.get("DIMRT_BUNDLE")
    if variable:
        return _existing(variable, "DIMRT_BUNDLE", Path())
    config = config_folder() / "config.json"
    configured = _configured(config)
    if configured is not None:
        return _existing(configured, str(config), config.parent)
    if NANO.is_dir():
        return NANO, "packaged"
    raise BundleError(
        f"no bundle: --bundle not given, DIMRT_BUNDLE not set, no `bundle` in {config}, and no packaged one at {NANO}; "
        "name one with --bundle, or make one with `dimrt export`"
    )


def config_folder() -> Path:
    """The user's configuration folder of dimrt on this platform (it need not exist)."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Roaming") / "dimrt"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "dimrt"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "dimrt"


def _configured(config: Path) -> str | None:
    """The `bundle` entry of the configuration file; None when there is no file or no entry."""
    try:
        content = json.loads(config.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BundleError(f"{config} can't be read ({error}); correct or remove it") from error
    bundle = content.get("bundle") if isinstance(content, dict) else None
    if bundle is not None and not isinstance(bundle, str):
        raise BundleError(f"`bundle` in {config} must be a path in quotes; correct or remove it")
    return bundle


def _existing(choice: str, source: str, base: Path) -> tuple[Path, str]:
    path = NANO if choice == "nano" else base / Path(choice).expanduser()
    if not path.is_dir():
        raise BundleError(
            f"unknown bundle {choice!r} from {source}: no folder at {path}; "
            "give the folder of a bundle, the word nano, or make one with `dimrt export`"
        )
    return path, source


def _read_manifest(root: Path) -> bytes:
    path = root / MANIFEST
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST}; make one with `dimrt export`") from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path} is not a regular file; a bundle holds no links: copy the bundle again")
    if status.st_size > MANIFEST_LIMIT:
        raise BundleError(f"{path} has {status.st_size:,} bytes, more than the limit of {MANIFEST_LIMIT:,}")
    return path.read_bytes()


def _parse_manifest(root: Path, raw: bytes) -> Manifest:
    try:
        version = msgspec.json.decode(raw, type=_Format).format
        if version > FORMAT_VERSION:
            raise BundleError(
                f"{root} was made by a newer dimrt (bundle format {version}, this one reads up to {FORMAT_VERSION}); "
                "upgrade dimrt"
            )
        if version != FORMAT_VERSION:
            raise BundleError(f"{root} has bundle format {version}, this dimrt reads {FORMAT_VERSION}; export it again")
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{root / MANIFEST} is damaged: {error}; copy or export the bundle again") from error


def _map_table(path: Path, key: str) -> NDArray[Any]:
    """Map the one tensor `key` of a safetensors file (8 bytes of header length, a JSON header, then the data)."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(HEADER_LIMIT, size - 8):
                raise ValueError(f"a header of {length:,} bytes")
            entry = json.loads(file.read(length))[key]
        dtype, shape = TABLE_TYPES[entry["dtype"]], tuple(int(side) for side in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
        data = 8 + length
        if (
            begin < 0
            or min(shape, default=0) < 1
            or end - begin != dtype.itemsize * int(np.prod(shape))
            or data + end > size
        ):
            raise ValueError(f"offsets {begin}..{end} for shape {shape}")
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a table of `{key}` in float16 or float32 ({error}); export again") from error
    mapped: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r", offset=data + begin, shape=shape)
    return mapped.view(np.ndarray)  # whose rows are had in a tenth of the time
