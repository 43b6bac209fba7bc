"""The same batch on several machines or GPUs: one editor in each worker, photos handed out by Ray Data.

Every machine has to see the folder, the results and the bundle under the same paths, as on a network share. Pictures
never go through Ray: its messages are the names of photos and the entries that come back.
"""

import json
import logging
import os
import platform
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dimrt.backends.choose import DeviceName
from dimrt.batch.entry import Entry, from_json
from dimrt.batch.job import Task
from dimrt.batch.marks import deaths, forgive
from dimrt.batch.record import RECORD
from dimrt.batch.work import Place, edit_photo
from dimrt.editor import Editor
from dimrt.errors import BundleError, Cancelled, DimrtError, ResourceError
from dimrt.phases import Cancel

if TYPE_CHECKING:
    from dimrt.batch.runner import Work

OBJECT_STORE = 128 << 20
"""Bytes of shared memory for Ray's messages, where Ray is started here."""
MAX_BLOCKS = 10_000
"""Ray's blocks of work; up to so many photos each is one of its own, and is recorded when it is done."""


@dataclass(frozen=True)
class Cluster:
    """Where and with what the workers run.

    Attributes:
        address: of the Ray cluster, or "local" for this machine alone. A process that uses Ray already keeps its own.
        bundle: its folder, the same on every machine.
        digest: of that bundle; a machine that has another one under the same path is refused.
        device, target, threads: as in `Editor.load`, of each worker.
        workers: how many; None takes one for each GPU, or one for each machine where there are none.
    """

    address: str
    bundle: Path
    digest: str
    device: DeviceName = "auto"
    target: str | None = None
    threads: int | None = None
    workers: int | None = None


def edit_on_ray(cluster: Cluster, cancel: Cancel | None = None) -> "Work":
    """Work that edits photos on a Ray cluster, see `dimrt.batch.runner.results`.

    Raises:
        ResourceError: Ray isn't installed.
    """
    _import_ray()

    def work(tasks: list[Task], place: Place) -> Generator[Entry, None, None]:
        if not tasks:
            return
        place = replace(place, folder=place.folder.resolve(), out=place.out.resolve())
        before = {task.input: deaths(place.out, task.input) for task in tasks}
        try:
            with _connected(cluster.address), _quiet():
                for row in _rows(tasks, place, cluster):
                    if cancel is not None and cancel.is_set():
                        raise Cancelled
                    yield _entry(row)
        finally:  # workers that are ended from here haven't died of their photos
            forgive(place.out, before)

    return work


class Worker:
    """What runs on a machine of the cluster: loads the editor once, then takes photo after photo."""

    def __init__(self, place: Place, cluster: Cluster) -> None:
        """Nothing is loaded yet, so that what fails can be told as that of an edit."""
        self._place = place
        self._cluster = cluster
        self._editor: Editor | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        """One task as JSON in, one entry as JSON out; or the error that ends the batch."""
        try:
            if self._editor is None:
                self._editor = self._load()
            entry = edit_photo(self._editor, Task(**json.loads(row["task"])), self._place)
        except DimrtError as error:
            return {"entry": "", "error": str(error), "kind": type(error).__name__}
        return {"entry": json.dumps(entry.as_json()), "error": "", "kind": ""}

    def _load(self) -> Editor:
        """The editor, on a machine that sees what it should.

        Raises:
            ResourceError: it doesn't see the folder of results, or the device can't be used.
            BundleError: it has another bundle, or none.
        """
        asked = self._cluster
        if not (self._place.out / RECORD).is_file():
            raise ResourceError(
                f"one of the cluster's machines ({platform.node()}) doesn't see {self._place.out}; share it under the "
                "same path on all of them, and the photos and the bundle too"
            )
        editor = Editor.load(asked.bundle, device=asked.device, target=asked.target, threads=asked.threads)
        if editor.bundle.digest != asked.digest:
            raise BundleError(f"{asked.bundle} is another bundle on one of the machines; copy it there again")
        return editor


def _import_ray() -> Any:
    """Ray, which tells its makers about its use unless it is told not to before it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray.data
    except ImportError as error:
        raise ResourceError(f'Ray Data is not installed ({error}); pip install "dimrt[ray]"') from error
    return ray


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to the cluster, and its end where it began here: that ends the workers too."""
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == "local":
        settings.update(include_dashboard=False, object_store_memory=OBJECT_STORE)
    try:
        ray.init(**settings)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ResourceError(f"no Ray cluster at {address} ({error}); start one with `ray start`") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data without bars and words of its own; as it was afterwards."""
    context = _import_ray().data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False}
    before = {name: getattr(context, name) for name in wanted}
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.data")}
    for name, value in wanted.items():
        setattr(context, name, value)
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _rows(tasks: list[Task], place: Place, cluster: Cluster) -> Iterator[dict[str, str]]:
    """The workers' answers, as they come. Ray gives the photo of a worker that died to another one; see `marks.py`."""
    ray = _import_ray()
    have = ray.cluster_resources()
    gpus = 0 if cluster.device == "cpu" else int(have.get("GPU", 0))
    workers = cluster.workers or gpus or len([node for node in ray.nodes() if node["Alive"]])
    items = [{"task": json.dumps(asdict(task))} for task in tasks]
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS)).map(
        Worker,
        fn_constructor_args=(place, cluster),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(tasks))),
        num_cpus=cluster.threads or 1,
        num_gpus=1 if gpus else None,
    )
    rows: Iterator[dict[str, str]] = dataset.iter_rows()
    return rows


def _entry(row: dict[str, str]) -> Entry:
    """The entry in an answer.

    Raises:
        BundleError, ResourceError: the worker met what no photo is to blame for.
    """
    if row["kind"]:
        raise (BundleError if row["kind"] == BundleError.__name__ else ResourceError)(row["error"])
    return from_json(json.loads(row["entry"]))
