"""What the batch's tests share: a folder of small photos, and an editor that turns photos negative at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from dimrt.batch import Entry, Job, Report, run
from dimrt.batch.record import read_history
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.options import EditOptions
from dimrt.phases import Cancel
from dimrt.photo.read import Photo

WORDS = "make it a negative"


class Negative:
    """Stands in for an editor. `meet[name]` is called before the photo of that name is edited.

    Attributes:
        edited: names of the photos whose edit was begun, in order.
    """

    def __init__(self) -> None:
        self.bundle = Bundle.open(NANO, verify="layout")
        self.edited: list[str] = []
        self.meet: dict[str, Callable[[], object]] = {}

    def edit(
        self, photo: Photo, instruction: str, options: EditOptions, *, cancel: Cancel | None = None
    ) -> SimpleNamespace:
        """The photo's negative."""
        assert photo.path is not None
        name = photo.path.name
        self.edited.append(name)
        self.meet.get(name, lambda: None)()
        seed = 0 if options.seed is None else options.seed
        facts = {"seed": seed, "steps": 1, "guidance_scale": 1.0, "composite": "tone", "bundle": "stand-in"}
        return SimpleNamespace(image=~photo.pixels, provider="numpy", **facts)


@pytest.fixture
def negative() -> Negative:
    """The stand-in itself."""
    return Negative()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos in three folders."""
    root = tmp_path / "photos"
    for number, name in enumerate(["a.png", "b.jpg", "trip/a.png", "trip/day two/c.webp"]):
        picture(root / name, 10 * number)
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where results go; not there yet."""
    return tmp_path / "out"


def picture(path: Path, level: int = 0) -> None:
    """Write a small photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((6, 8, 3), level, np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(name="picture")
def _picture() -> Callable[..., None]:
    return picture


Edit = Callable[..., Report]


@pytest.fixture
def edit(folder: Path, out: Path, negative: Negative) -> Edit:
    """Run a job on the folder with the stand-in; keywords are the job's, `on_entry` and `cancel` those of `run`."""

    def call(on_entry: Any = None, cancel: Any = None, **settings: Any) -> Report:
        job = Job(**{"folder": folder, "instruction": WORDS, "out": out, **settings})
        return run(job, cast(Editor, negative), on_entry=on_entry, cancel=cancel)

    return call


@pytest.fixture
def statuses(out: Path) -> Callable[[], dict[str, str]]:
    """The last status of each photo by the record."""

    def call() -> dict[str, str]:
        return {name: entry.status for name, entry in read_history(out).last.items()}

    return call


@pytest.fixture
def done(out: Path) -> Callable[[], list[str]]:
    """The photos that are done by the record."""

    def call() -> list[str]:
        return [name for name, entry in read_history(out).last.items() if entry.status == "done"]

    return call


@contextmanager
def no_file_larger(limit: int) -> Iterator[None]:
    """The system refuses to let any file grow beyond so many bytes, as it would on a full disk."""
    resource = pytest.importorskip("resource", reason="needs a limit of file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(name="no_file_larger")
def _no_file_larger() -> Callable[[int], Any]:
    return no_file_larger


def files_in(root: Path) -> list[str]:
    """Relative paths of all files that are no record."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in found if "dimrt-" not in name)


@pytest.fixture(name="files_in")
def _files_in() -> Callable[[Path], list[str]]:
    return files_in


def by_input(entries: Any) -> dict[str, Entry]:
    """Entries by their photo."""
    return {entry.input: entry for entry in entries}


@pytest.fixture(name="by_input")
def _by_input() -> Callable[[Any], dict[str, Entry]]:
    return by_input
