"""Writing when the machine gives out: the old file stays, nothing is left beside it, and the error says what it was."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import an_exif, bundled_profile, encoded, picture
from PIL import Image

from dimrt import files
from dimrt.errors import InputError, ResourceError
from dimrt.photo import read, upright
from dimrt.photo.photo import Photo
from dimrt.photo.read import read_photo
from dimrt.photo.write import write_photo

WIDE = np.random.default_rng(0).integers(0, 65536, (300, 400, 3), dtype=np.uint16)
CASES = {
    f"8{suffix}": (WIDE.astype(np.uint8), suffix) for suffix in (".jpg", ".png", ".webp", ".tif", ".avif", ".heic")
}
CASES |= {f"16{suffix}": (WIDE, suffix) for suffix in (".png", ".tif", ".avif", ".heic")}


class FullAfter:
    """A file on a disk that takes only so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        self._room -= memoryview(data).nbytes
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "FullAfter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.mark.parametrize(("pixels", "suffix"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("room", [0, 3000])
def test_a_full_disk_leaves_the_old_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, suffix: str, room: int
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"what was there")
    plain = Path.open
    monkeypatch.setattr(
        files.Path,
        "open",
        lambda self, mode="r", *rest: FullAfter(plain(self, mode), room) if "x" in mode else plain(self, mode, *rest),
    )
    with pytest.raises(ResourceError, match=r"can't write .*x\.\w+: No space left"):
        write_photo(path, pixels, Photo(pixels, icc=bundled_profile("p3"), exif=an_exif()))
    monkeypatch.undo()
    assert path.read_bytes() == b"what was there"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".avif"])
def test_too_little_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write_photo(path, picture())

    def nothing_left(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(upright.np, "empty", nothing_left)
    with pytest.raises(ResourceError, match=r"x\.\w+ doesn't fit into memory"):
        read_photo(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = tmp_path / "x.png"
    write_photo(path, picture())

    def refused(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"x\.png can't be read: \w+"):
        read_photo(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_disk_that_fails_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(encoded(Image.fromarray(picture(300, 200)), kind))

    class Failing:
        def __init__(self, file: Any) -> None:
            self._file = file

        def read(self, count: int = -1) -> bytes:
            if self._file.tell() > 2000:
                raise OSError(errno.EIO, "Input/output error")
            return bytes(self._file.read(min(count, 2001) if count > 0 else 2001))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

    opened: Callable[..., Any] = read._opened
    monkeypatch.setattr(read, "_opened", lambda *arguments: Failing(opened(*arguments)))
    with pytest.raises(InputError, match="x can't be read: Input/output error"):
        read_photo(path)
