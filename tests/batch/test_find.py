"""Which files of a folder are photos, and what is said of the others."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dimrt.batch.find import describe_left_out, find_photos
from dimrt.batch.record import RECORD

Picture = Callable[..., None]


def test_photos_come_folder_by_folder_in_order(folder: Path, out: Path) -> None:
    found = find_photos(folder, out)
    assert found.photos == ["a.png", "b.jpg", "trip/a.png", "trip/day two/c.webp"]
    assert found.bytes == sum((folder / name).stat().st_size for name in found.photos)
    assert not found.left_out and not found.unreadable


def test_what_is_no_photo_is_counted(folder: Path, out: Path) -> None:
    for name in ("b.xmp", "trip/b.XMP", "film.mov", "IMG_1.CR2", "IMG_2.nef", "notes", "moving.gif"):
        (folder / name).write_bytes(b"x")
    found = find_photos(folder, out)
    assert len(found.photos) == 4
    assert found.left_out == {".xmp": 2, ".mov": 1, ".cr2": 1, ".nef": 1, "no suffix": 1, ".gif": 1}
    raw, rest = describe_left_out(found)
    assert raw.startswith("2 undeveloped (raw) photos")
    assert rest == "left out: 2 .xmp, 1 .gif, 1 .mov, 1 no suffix"


def test_hidden_files_and_system_folders_are_left_out(folder: Path, out: Path, picture: Picture) -> None:
    for name in (".thumbnails/a.png", "._a.png", "@eaDir/a.png", "trip/__MACOSX/a.png"):
        picture(folder / name)
    found = find_photos(folder, out)
    assert len(found.photos) == 4
    assert found.left_out == {"hidden": 2, "folders of the system": 2}


def test_results_inside_the_folder_are_not_photos(folder: Path, picture: Picture) -> None:
    own, earlier = folder / "out", folder / "trip" / "warmer"
    picture(own / "a.png")
    picture(earlier / "a.png")
    (earlier / RECORD).write_bytes(b"")
    found = find_photos(folder, own)
    assert len(found.photos) == 4
    assert found.left_out == {"folders of earlier results": 1}
    assert "out/a.png" in find_photos(folder, folder.parent / "elsewhere").photos


def test_links_are_followed_to_files_of_the_tree_only(folder: Path, out: Path, picture: Picture) -> None:
    picture(folder.parent / "private.png")
    try:
        (folder / "best.png").symlink_to(folder / "trip" / "a.png")
        (folder / "out of it.png").symlink_to(folder.parent / "private.png")
        (folder / "nowhere.png").symlink_to(folder / "gone.png")
        (folder / "trip" / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "trip" / "loop.png").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("needs the right to make links")
    found = find_photos(folder, out)
    assert found.photos == ["a.png", "b.jpg", "best.png", "trip/a.png", "trip/day two/c.webp"]
    assert sum(found.left_out.values()) == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_photo(folder: Path, out: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    assert "pipe.jpg" not in find_photos(folder, out).photos


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="needs folders that can't be read")
def test_an_unreadable_folder_is_told_with_its_permissions(folder: Path, out: Path) -> None:
    (folder / "trip").chmod(0)
    try:
        found = find_photos(folder, out)
    finally:
        (folder / "trip").chmod(0o700)
    assert found.photos == ["a.png", "b.jpg"]
    assert list(found.unreadable) == ["trip"]


def test_an_unreadable_folder_is_told(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "trip":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_photos(folder, out)
    assert found.photos == ["a.png", "b.jpg"]
    assert str(found.unreadable["trip"]).endswith("Permission denied")
