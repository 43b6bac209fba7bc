"""Where each photo's result goes: the same place in another folder, and never the place of another photo's."""

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import PurePosixPath

from dimrt.photo.write import FORMATS

LOSSY = frozenset({".hif", ".jp2", ".j2k", ".mpo", ".jpe", ".jfif"})
"""Suffixes that aren't written and whose photos become JPEG; the others become PNG."""


def name_outputs(photos: Iterable[str], suffix: str | None = None) -> dict[str, str]:
    """Give every photo an output of its own.

    A photo keeps its place and its name. Where the format changes the suffix does ("a.heic" to "a.jpg"). When another
    photo has that name already, the old suffix stays in it ("a.heic.jpg"), and after that names are numbered
    ("a~2.jpg"). Two names are the same when a disk could take them for the same: upper and lower case, and both ways
    of writing an accent, count alike. Photos that keep their names choose first, then in the order of their paths:
    the result depends on nothing but the set of photos.

    Args:
        photos: relative paths with forward slashes.
        suffix: of all outputs (".png"), one of `dimrt.photo.write.FORMATS`; None keeps each photo's format where it
            can be written, else takes JPEG or PNG.

    Returns:
        The output of each photo, in the order given, as relative paths.
    """
    names = list(photos)
    wanted = {name: wanted_output(name, suffix) for name in names}
    # Folders are there already: a result can't take the name of one.
    taken = {folded(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (wanted[name] != name, name)):
        free = next(output for output in _choices(name, wanted[name]) if folded(output) not in taken)
        taken.add(folded(free))
        chosen[name] = free
    return {name: chosen[name] for name in names}


def wanted_output(photo: str, suffix: str | None) -> str:
    """The output that a photo would have if it were the only one."""
    path = PurePosixPath(photo)
    own = path.suffix.lower()
    if suffix is None:
        suffix = own if own in FORMATS else ".jpg" if own in LOSSY else ".png"
    return photo if FORMATS.get(own) == FORMATS[suffix] else str(path.with_suffix(suffix))


def folded(name: str) -> str:
    """What a name is to a disk that takes upper and lower case, composed and decomposed accents, for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _choices(photo: str, wanted: str) -> Iterator[str]:
    yield wanted
    path = PurePosixPath(wanted)
    if wanted != photo:
        yield photo + path.suffix
    for number in count(2):
        yield str(path.with_name(f"{path.stem}~{number}{path.suffix}"))
