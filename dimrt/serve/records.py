"""The jobs that callers may ask about: their events as text, and their results while they fit."""

import json
from collections.abc import Callable
from typing import Any

from dimrt.events import Event
from dimrt.jobs import Job
from dimrt.result import EditResult
from dimrt.serve.errors import as_http
from dimrt.serve.feed import Feed
from dimrt.serve.photos import StoredPhoto
from dimrt.wire import event_json, result_json

KEPT_RECORDS = 64
"""Finished jobs that are remembered, besides the limit on the memory of their pictures."""

Frame = tuple[str, str]
"""Type and JSON of one event."""


class Record(Feed[Frame]):
    """One job; its last frame, once it's over, is its end: done, failed or cancelled.

    Attributes:
        stored: what is edited; its metadata goes into the file.
    """

    def __init__(self, job: Job[EditResult], stored: StoredPhoto, ended: Callable[[], None]) -> None:
        """Made by `Records.start`."""
        self.stored = stored
        self._ended = ended
        super().__init__(job, _frame)

    def describe(self) -> dict[str, Any]:
        """The job as JSON."""
        described: dict[str, Any] = {"id": self.id, "state": self.state, "position": self.position}
        if self.over:
            kind, text = self.items[-1]
            document = json.loads(text)
            described.update({"result": document} if kind == "done" else document)
        return described

    def _end(self) -> None:
        if self.result is not None:
            self.items.append(("done", _text(result_json(self.result))))
        elif self.error is not None:
            self.items.append((self.state, _text(as_http(self.error).document())))
        self._ended()


class Records:
    """Records by the id of their job."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._kept: dict[str, Record] = {}

    def start(self, job: Job[EditResult], stored: StoredPhoto) -> Record:
        """Follow a job that was just submitted."""
        record = Record(job, stored, self._tidy)
        self._kept[record.id] = record
        self._tidy()
        return record

    def get(self, name: str) -> Record | None:
        """The record of that id; None when it's gone."""
        return self._kept.get(name)

    def remove(self, name: str) -> None:
        """Forget a job."""
        self._kept.pop(name, None)

    def drop_oldest(self) -> bool:
        """Forget the oldest finished job; False when there is none."""
        for record in self._kept.values():
            if record.over:
                del self._kept[record.id]
                return True
        return False

    def _tidy(self) -> None:
        """Forget the oldest finished jobs beyond what may be kept; the last one always stays."""
        over = [record for record in self._kept.values() if record.over]
        held, count = sum(map(_bytes, over)), len(over)
        for record in over[:-1]:
            if held <= self._memory and count <= KEPT_RECORDS:
                return
            held -= _bytes(record)
            count -= 1
            del self._kept[record.id]


def _bytes(record: Record) -> int:
    """Memory of the pictures that a record holds."""
    return 0 if record.result is None else record.result.image.nbytes + record.result.painted.nbytes


def _frame(event: Event) -> Frame:
    document = event_json(event)
    return document["type"], _text(document)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
