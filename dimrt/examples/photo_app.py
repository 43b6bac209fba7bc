"""A small photo app: `python -m dimrt.examples.photo_app [PHOTO]`. Needs PySide6 (`pip install PySide6-Essentials`).

One editor, one queue (`dimrt.jobs`), one open photo (`Editor.open`). Work never runs in the window's thread: a
timer looks for the job's news.
"""

import sys
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtGui import QImage

from dimrt.editor import Editor
from dimrt.errors import DimrtError
from dimrt.events import Event, PhaseStarted, PlanText, Preview, Progress
from dimrt.jobs import Job, Jobs
from dimrt.options import EditOptions
from dimrt.photo.write import write_photo
from dimrt.result import EditResult
from dimrt.session import Session

STYLE = """
* { font-size: 14px; color: #e8e6e3; background: #1c1b1f }
QLineEdit, QPlainTextEdit { background: #2a292e; border: 1px solid #3b3a40; border-radius: 10px; padding: 10px }
QPushButton { background: #34333a; border: 0; border-radius: 10px; padding: 11px 20px }
QPushButton:disabled { color: #6b6970; background: #26252a } QLineEdit:focus { border-color: #d0a85c }
QProgressBar { background: #2a292e; border: 0; max-height: 4px } QProgressBar::chunk { background: #d0a85c }
"""
LOOK = 30
"""Milliseconds between two looks at the job."""
FILES = "Photos (*.jpg *.jpeg *.png *.webp *.tif *.tiff *.avif *.heic)"


class Compare(QtWidgets.QWidget):
    """Before on the left of a line that can be dragged, after on its right."""

    before, after, split = QImage(), QImage(), 0.5

    def place(self) -> QtCore.QRect:
        """Where the photo is drawn."""
        size = self.before.size().scaled(self.size(), QtCore.Qt.AspectRatioMode.KeepAspectRatio)
        middle = QtCore.Qt.AlignmentFlag.AlignCenter
        return QtWidgets.QStyle.alignedRect(self.layoutDirection(), middle, size, self.rect())

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        place = self.place()
        with QtGui.QPainter(self) as painter:
            painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
            if self.before.isNull():
                painter.drawText(self.rect(), QtCore.Qt.AlignmentFlag.AlignCenter, "Drop a photo here, or open one")
            painter.drawImage(place, self.before)
            if not self.after.isNull():
                line = round(self.split * place.width())
                painter.setClipRect(place.adjusted(line, 0, 0, 0))
                painter.drawImage(place, self.after)
                painter.fillRect(place.left() + line, place.top(), 2, place.height(), QtGui.QColor("#d0a85c"))

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        place = self.place()
        self.split = min(1.0, max(0.0, (event.position().x() - place.left()) / max(1, place.width())))
        self.update()


class Window(QtWidgets.QWidget):
    """Open, say what to change, watch, compare, undo, save."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(windowTitle="dimrt", acceptDrops=True)
        self.setStyleSheet(STYLE)
        self.jobs = jobs
        self.session: Session | None = None
        self.job: Job[Any] | None = None
        self.history: list[tuple[str, EditResult, QImage]] = []
        self.view, self.status = Compare(), QtWidgets.QLabel("Open a photo to begin")
        self.plan = QtWidgets.QPlainTextEdit(readOnly=True, placeholderText="The plan appears here")
        self.words = QtWidgets.QLineEdit(placeholderText="What should change?")
        self.bar = QtWidgets.QProgressBar(textVisible=False)
        self.plan.setMaximumWidth(330)
        grid = QtWidgets.QGridLayout(self)
        grid.addWidget(self.view, 0, 0, 1, 4)
        grid.addWidget(self.plan, 0, 4, 1, 2)
        grid.addWidget(self.bar, 1, 0, 1, 6)
        grid.addWidget(self.words, 2, 0)
        grid.addWidget(self.status, 3, 0, 1, 6)
        grid.setColumnStretch(0, 1)
        grid.setRowStretch(0, 1)
        self.buttons: dict[str, QtWidgets.QPushButton] = {}
        files = QtWidgets.QFileDialog
        actions: list[tuple[str, str, Callable[[], None]]] = [
            ("Edit", "Ctrl+Return", self.edit),
            ("Cancel", "Esc", lambda: self.job.cancel() if self.job else None),
            ("Undo", "Ctrl+Z", self.undo),
            ("Open", "Ctrl+O", lambda: self.open(files.getOpenFileName(self, "Open a photo", "", FILES)[0])),
            ("Save", "Ctrl+S", lambda: self.save(files.getSaveFileName(self, "Save the photo", "", FILES)[0])),
        ]
        for column, (name, keys, do) in enumerate(actions, 1):
            self.buttons[name] = QtWidgets.QPushButton(name)
            self.buttons[name].setShortcut(keys)
            self.buttons[name].clicked.connect(do)
            grid.addWidget(self.buttons[name], 2, column)
        self.words.returnPressed.connect(self.edit)
        self.startTimer(LOOK)
        self.refresh()

    def run(self, work: Callable[[Editor], Generator[Event, None, Any]], done: Callable[[Any], None]) -> None:
        """Have something done in the editor's thread, and then go on here."""
        self.seen, self.done = 0, done
        self.job = self.jobs.submit(work)
        self.refresh()

    def timerEvent(self, _: QtCore.QTimerEvent) -> None:
        """Show what happened since the last time."""
        job = self.job
        if job is None:
            return
        over = job.over  # asked before the events, so that none is missed
        for event in job.since(self.seen):
            self.seen += 1
            match event:
                case PhaseStarted(phase, total):
                    self.status.setText(f"{phase.capitalize()} …")
                    self.bar.setRange(0, total or 0)
                case Progress(_, count):
                    self.bar.setValue(count)
                case PlanText(text):
                    self.plan.insertPlainText(text)
                case Preview(_, image):
                    self.view.after = picture(image)
        if over:
            self.job = None
            try:
                self.done(job.result())
            except DimrtError as error:  # Cancelled is one too
                self.status.setText(str(error))
        self.refresh()

    def open(self, path: str) -> None:
        def opened(session: Session) -> None:
            self.session, self.history = session, []
            self.view.before = picture(session.photo.pixels, session.photo.icc)
            self.status.setText("{} x {} pixels".format(*session.photo.size))

        if path and self.job is None:
            self.run(lambda editor: at_once(lambda: editor.open(path)), opened)

    def edit(self) -> None:
        words, session = self.words.text().strip(), self.session
        if session is None or not words or self.job is not None:
            return

        def edited(result: EditResult) -> None:
            self.history.append((words, result, picture(result.image, session.photo.icc)))
            self.words.clear()
            self.status.setText(f"Done in {sum(result.timings.values()):.1f} s")

        self.plan.clear()
        instructions = [*(said for said, _, _ in self.history), words]
        self.run(lambda _: session.render(instructions, EditOptions(previews=True)), edited)

    def save(self, path: str) -> None:
        if path and self.session is not None and self.history and self.job is None:
            image, photo = self.history[-1][1].image, self.session.photo
            saved = at_once(lambda: write_photo(path, image, photo))
            self.run(lambda _: saved, lambda notes: self.status.setText("; ".join([f"Saved {path}", *notes])))

    def undo(self) -> None:
        self.words.setText(self.history.pop()[0])
        self.refresh()

    def refresh(self) -> None:
        """Show what there is and what can be done now."""
        busy, edited = self.job is not None, bool(self.history)
        if not busy:
            self.view.after = self.history[-1][2] if edited else QImage()
            self.bar.setRange(0, 1)
            self.bar.reset()
        can = {"Edit": not busy and self.session is not None, "Cancel": busy, "Open": not busy}
        for name, button in self.buttons.items():
            button.setEnabled(can.get(name, edited and not busy))
        self.view.update()

    def dragEnterEvent(self, event: QtGui.QDragEnterEvent) -> None:
        event.setAccepted(event.mimeData().hasUrls())

    def dropEvent(self, event: QtGui.QDropEvent) -> None:
        self.open(event.mimeData().urls()[0].toLocalFile())


def at_once(do: Callable[[], Any]) -> Generator[Event, None, Any]:
    """Work without events."""
    yield from ()
    return do()


def picture(pixels: np.ndarray[Any, Any], icc: bytes | None = None) -> QImage:
    """An array as Qt shows it: 8 bits, sRGB."""
    levels = np.ascontiguousarray((pixels if pixels.dtype == np.uint8 else pixels // 257)[..., :3], np.uint8)
    height, width = levels.shape[:2]
    image = QImage(levels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    if icc is not None:
        image.setColorSpace(QtGui.QColorSpace.fromIccProfile(icc))
        image.convertToColorSpace(QtGui.QColorSpace(QtGui.QColorSpace.NamedColorSpace.SRgb))
    return image


def main() -> None:
    """Start the app."""
    app = QtWidgets.QApplication(sys.argv)
    with Jobs(Editor.load()) as jobs:
        window = Window(jobs)
        window.resize(1100, 700)
        window.show()
        window.open(sys.argv[1] if len(sys.argv) > 1 else "")
        app.exec()


if __name__ == "__main__":
    main()
