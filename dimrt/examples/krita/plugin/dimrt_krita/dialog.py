"""The dialog: say what should change, watch the plan and the progress, cancel."""

import base64
import queue

from PyQt5.QtCore import QSize, Qt, QTimer
from PyQt5.QtGui import QPixmap
from PyQt5.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from dimrt_krita.client import Cancelled, WorkerError

LOOK = 50
"""Milliseconds between two looks at what the worker said."""


class EditDialog(QDialog):
    """Edits one task. Not modal: Krita stays usable meanwhile."""

    def __init__(self, client, task, parent):
        super().__init__(parent)
        self.client = client
        self.task = task
        self.handle = None
        self.news = queue.Queue()
        self.setObjectName("dimrt")
        self.setWindowTitle("Edit with dimrt" + ("" if task.mask is None else " (selection)"))
        self.words = QLineEdit(placeholderText="What should change?", objectName="words")
        self.plan = QPlainTextEdit(readOnly=True, placeholderText="The plan appears here", objectName="plan")
        self.preview = QLabel(alignment=Qt.AlignCenter, objectName="preview")
        self.preview.setFixedSize(180, 180)
        self.bar = QProgressBar(textVisible=False)
        self.status = QLabel("Ready", objectName="status")
        self.status.setWordWrap(True)
        self.go = QPushButton("Edit", objectName="go")
        self.stop = QPushButton("Close", objectName="stop")
        self.go.setDefault(True)
        middle, buttons, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        middle.addWidget(self.plan)
        middle.addWidget(self.preview)
        buttons.addWidget(self.status, 1)
        buttons.addWidget(self.stop)
        buttons.addWidget(self.go)
        column.addWidget(self.words)
        column.addLayout(middle)
        column.addWidget(self.bar)
        column.addLayout(buttons)
        self.resize(620, 330)
        self.go.clicked.connect(self.edit)
        self.stop.clicked.connect(self.reject)
        self.timer = QTimer(self, interval=LOOK)
        self.timer.timeout.connect(self.look)

    def edit(self):
        """Send it off; the events come through a queue, since another thread brings them."""
        words = self.words.text().strip()
        if not words or self.handle is not None:
            return
        self.plan.clear()
        self.say("Starting …", busy=True)
        try:
            self.handle = self.client.submit(
                self.task.photo, words, mask=self.task.mask, options={"previews": True}, on_event=self.news.put
            )
        except WorkerError as error:
            self.say(str(error), busy=False)
            return
        self.timer.start()

    def look(self):
        """Show what came, and finish when it's over."""
        over = self.handle.done  # asked before the events, so that none is missed
        while not self.news.empty():
            self.show_event(self.news.get())
        if over:
            self.timer.stop()
            handle, self.handle = self.handle, None
            self.finish(handle)

    def show_event(self, event):
        """One event of the edit."""
        if event["type"] == "phase_started":
            self.status.setText(event["phase"].capitalize() + " …")
            self.bar.setRange(0, event["total"] or 0)
        elif event["type"] == "progress":
            self.bar.setValue(event["done"])
        elif event["type"] == "plan_text":
            self.plan.insertPlainText(event["text"])
        elif event["type"] == "preview":
            pixmap = QPixmap()
            pixmap.loadFromData(base64.b64decode(event["image"].partition(",")[2]))
            # The painter may see the document stretched to its own shape; of a selection it sees a part.
            shape = pixmap.size() if self.task.mask is not None else QSize(*self.task.place[2:])
            shape.scale(self.preview.size(), Qt.KeepAspectRatio)
            self.preview.setPixmap(pixmap.scaled(shape, Qt.IgnoreAspectRatio, Qt.SmoothTransformation))

    def finish(self, handle):
        """The result as a layer, or what went wrong."""
        try:
            result = handle.result()
        except Cancelled:
            self.say("Cancelled", busy=False)
        except WorkerError as error:
            self.say(str(error), busy=False)
        else:
            self.task.add_layer("dimrt: " + self.words.text().strip(), result.image)
            self.say("Added as a new layer", busy=False)

    def say(self, text, busy):
        """The status line, and what can be done now."""
        self.status.setText(text)
        self.bar.setRange(0, 0 if busy else 1)
        self.go.setEnabled(not busy)
        self.words.setEnabled(not busy)
        self.stop.setText("Cancel" if busy else "Close")

    def reject(self):
        """Cancel, Escape or closing: the first time the edit, then the dialog."""
        if self.handle is not None:
            self.handle.cancel()
            self.status.setText("Cancelling …")
        else:
            super().reject()
