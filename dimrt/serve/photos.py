"""The photos that were uploaded, for as long as they fit."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from dimrt.photo.read import Photo
from dimrt.session import Session


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
    """Photos by their id. The one used longest ago goes when the memory is full; the newest one always stays."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._kept: OrderedDict[str, StoredPhoto] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, photo: Photo) -> StoredPhoto:
        """Keep a photo."""
        stored = StoredPhoto(photo)
        self._kept[stored.id] = stored
        while len(self._kept) > 1 and sum(other.bytes for other in self._kept.values()) > self._memory:
            self._kept.popitem(last=False)
        return stored

    def get(self, name: str) -> StoredPhoto | None:
        """The photo of that id, which counts as used now; None when it's gone."""
        stored = self._kept.get(name)
        if stored is not None:
            self._kept.move_to_end(name)
        return stored

    def remove(self, name: str) -> bool:
        """Forget a photo; whether it was there."""
        return self._kept.pop(name, None) is not None
