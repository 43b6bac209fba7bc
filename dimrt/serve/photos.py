"""The photos that were uploaded, for as long as they fit."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakSet

from dimrt.photo.read import Photo
from dimrt.serve.errors import busy
from dimrt.session import Session

KEPT_SESSIONS = 4
"""Photos of which everything computed is kept: it may take more memory than the photo."""


@dataclass(eq=False)
class StoredPhoto:
    """One photo.

    Attributes:
        photo: as it was read.
        session: opened by the first edit, in the editor's thread; it keeps what the next edit needs not compute again.
        id: not to be guessed.
    """

    photo: Photo
    session: Session | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def bytes(self) -> int:
        """Memory of its pixels."""
        native = None if self.photo.native is None else self.photo.native.samples
        return sum(part.nbytes for part in (self.photo.pixels, self.photo.alpha, native) if part is not None)


class Photos:
    """Photos by their id. The one used longest ago goes when the memory is full.

    What counts is every photo that somebody still holds: a job that waits keeps its photo alive.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._kept: OrderedDict[str, StoredPhoto] = OrderedDict()
        self._alive: WeakSet[StoredPhoto] = WeakSet()

    def hold(self, photo: Photo) -> StoredPhoto:
        """Count a photo for as long as somebody holds what is returned, without keeping it."""
        stored = StoredPhoto(photo)
        self._alive.add(stored)
        return stored

    def keep(self, stored: StoredPhoto) -> None:
        """Keep a photo for further requests."""
        self._kept[stored.id] = stored
        self._close_old_sessions()

    def get(self, name: str) -> StoredPhoto | None:
        """The photo of that id, which counts as used now; None when it's gone."""
        stored = self._kept.get(name)
        if stored is not None:
            self._kept.move_to_end(name)
            self._close_old_sessions()
        return stored

    def remove(self, name: str) -> bool:
        """Forget a photo; whether it was there."""
        return self._kept.pop(name, None) is not None

    def make_room(self, needed: int, drop_result: Callable[[], bool]) -> None:
        """Forget photos until one of `needed` bytes fits; a photo larger than the whole memory may be alone in it.

        Args:
            needed: bytes.
            drop_result: forgets a finished job, which may hold the last reference to a photo; False when there is none.

        Raises:
            HttpError: 429, the photos of jobs that wait or run fill the memory.
        """
        while self._alive and sum(stored.bytes for stored in self._alive) + needed > self._memory:
            if self._kept:
                self._kept.popitem(last=False)
            elif not drop_result():
                raise busy("the photos of the edits that wait fill the memory; try again when one is over")

    def _close_old_sessions(self) -> None:
        """Let go of what was computed of photos that were not used lately; an edit computes it anew."""
        for stored in list(self._kept.values())[:-KEPT_SESSIONS]:
            stored.session = None
