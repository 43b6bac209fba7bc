"""The photo app, driven as by hand on an offscreen display: open, edit, compare, cancel, undo, save, errors."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6", exc_type=ImportError)

from PySide6 import QtCore, QtGui, QtWidgets

from dimrt.editor import Editor
from dimrt.examples import photo_app
from dimrt.examples.photo_app import Window
from dimrt.jobs import Jobs

ROOT = Path(__file__).parent.parent.parent
PHOTO = ROOT / "benchmarks" / "photos" / "coffee.jpg"
SOON = 120.0
"""Seconds after which a test that waits has failed."""
SEPIA = "make it look like an old sepia photo"


@pytest.fixture(scope="module")
def app() -> QtWidgets.QApplication:
    found = QtWidgets.QApplication.instance()
    return found if isinstance(found, QtWidgets.QApplication) else QtWidgets.QApplication([])


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(Editor.load(device="cpu", threads=1, verify="layout")) as opened:
        yield opened


@pytest.fixture
def window(app: QtWidgets.QApplication, jobs: Jobs) -> Iterator[Window]:
    shown = Window(jobs)
    shown.resize(1100, 700)
    shown.show()
    yield shown
    if shown.job is not None:
        shown.job.cancel()
        wait(lambda: shown.job is None)
    shown.close()


def wait(until: Callable[[], bool]) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + SOON
    while not until():
        assert time.monotonic() < end, "it didn't happen"
        QtWidgets.QApplication.processEvents()
        QtCore.QThread.msleep(2)


def idle(window: Window) -> None:
    wait(lambda: window.job is None)


def opened(window: Window) -> Window:
    window.open(str(PHOTO))
    idle(window)
    return window


def click(window: Window, name: str) -> None:
    assert window.buttons[name].isEnabled(), name
    window.buttons[name].click()


def press(widget: QtWidgets.QWidget, key: QtCore.Qt.Key) -> None:
    for kind in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.KeyRelease):
        QtWidgets.QApplication.sendEvent(widget, QtGui.QKeyEvent(kind, key, QtCore.Qt.KeyboardModifier.NoModifier))


def enabled(window: Window) -> set[str]:
    return {name for name, button in window.buttons.items() if button.isEnabled()}


def levels(image: QtGui.QImage) -> np.ndarray[Any, Any]:
    """Pixels of a picture of Qt's, uint8 [H, W, 3]."""
    plain = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return rows[:, : 3 * plain.width()].reshape(plain.height(), plain.width(), 3).copy()


def test_it_is_short() -> None:
    lines = Path(photo_app.__file__).read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) < 200


def test_an_edit_from_opening_to_saving(window: Window, tmp_path: Path) -> None:
    assert enabled(window) == {"Open"}
    opened(window)
    assert window.status.text() == "600 x 400 pixels"
    assert enabled(window) == {"Open", "Edit"}
    before = levels(window.view.before)
    window.words.setText(SEPIA)
    press(window.words, QtCore.Qt.Key.Key_Return)
    assert enabled(window) == {"Cancel"}
    previews: list[bool] = []
    wait(lambda: bool(previews.append(not window.view.after.isNull())) or window.job is None)
    assert any(previews)
    assert "1. Edit Instruction" in window.plan.toPlainText()
    assert window.status.text().startswith("Done in")
    assert enabled(window) == {"Open", "Edit", "Undo", "Save"}
    after = levels(window.view.after)
    assert after.shape == before.shape
    assert np.abs(after.astype(int) - before).mean() > 5
    window.save(str(tmp_path / "sepia.png"))
    idle(window)
    with Image.open(tmp_path / "sepia.png") as saved:
        assert np.array_equal(np.asarray(saved), after)


def test_the_line_between_before_and_after_follows_the_mouse(window: Window) -> None:
    opened(window)
    window.words.setText(SEPIA)
    click(window, "Edit")
    idle(window)
    place = window.view.place()

    def drawn(share: float) -> np.ndarray[Any, Any]:
        point = QtCore.QPointF(place.left() + share * place.width(), place.center().y())
        left, plain = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
        moved = QtGui.QMouseEvent(QtCore.QEvent.Type.MouseMove, point, point, left, left, plain)
        QtWidgets.QApplication.sendEvent(window.view, moved)
        return levels(window.view.grab(place).toImage())

    def apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
        """Mean difference in levels; the rounding of a clipped picture's scaling is below 1."""
        return float(np.abs(one.astype(int) - other).mean())

    before, after = drawn(1.0)[:, 10:-10], drawn(0.0)[:, 10:-10]
    half = drawn(0.5)[:, 10:-10]
    left, right = slice(0, half.shape[1] // 2 - 5), slice(half.shape[1] // 2 + 5, None)
    assert apart(before, after) > 5
    assert apart(half[:, left], before[:, left]) < 1
    assert apart(half[:, right], after[:, right]) < 1


def test_cancelling_keeps_what_there_was_and_undo_brings_the_words_back(window: Window) -> None:
    opened(window)
    window.words.setText(SEPIA)
    click(window, "Edit")
    idle(window)
    first = window.view.after
    window.words.setText("make it brighter")
    click(window, "Edit")
    wait(lambda: window.seen > 0)
    click(window, "Cancel")
    idle(window)
    assert window.status.text().startswith("cancelled")
    assert (window.view.after, window.words.text(), len(window.history)) == (first, "make it brighter", 1)
    click(window, "Edit")
    idle(window)
    assert len(window.history) == 2
    click(window, "Undo")
    assert (window.view.after, window.words.text()) == (first, "make it brighter")
    click(window, "Undo")
    assert window.view.after.isNull()
    assert window.words.text() == SEPIA


def test_a_file_that_is_no_photo_is_said(window: Window, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo")
    data = QtCore.QMimeData()
    data.setUrls([QtCore.QUrl.fromLocalFile(str(tmp_path / "notes.jpg"))])
    actions = QtCore.Qt.DropAction.CopyAction
    left, plain = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    window.dropEvent(QtGui.QDropEvent(QtCore.QPointF(5, 5), actions, data, left, plain))
    idle(window)
    assert "notes.jpg" in window.status.text()
    assert enabled(window) == {"Open"}
