"""Inside Krita, in a test: does with the plug-in what a user would, and writes down what came of it."""

import json
import os
import traceback
from pathlib import Path

from krita import Extension, Krita, Selection
from PyQt5.QtCore import QTimer
from PyQt5.QtWidgets import QApplication, QDialog, QLabel, QLineEdit, QPlainTextEdit, QPushButton

OUT = Path(os.environ["DIMRT_DRIVE"])
WORDS = "make it look like an old sepia photo"


class Drive(Extension):
    """Looks ten times a second whether the next step can be done."""

    def setup(self):
        self.steps = scenario()
        self.until = None
        self.timer = QTimer(interval=100)
        self.timer.timeout.connect(self.look)
        self.timer.start()

    def createActions(self, window):
        pass

    def look(self):
        try:
            if self.until is None or self.until():
                self.until = next(self.steps)
        except StopIteration:
            os._exit(0)
        except BaseException:
            (OUT / "error.txt").write_text(traceback.format_exc())
            shot("error.png")
            os._exit(1)


def scenario():
    """Each `yield` waits until something is so."""
    krita = Krita.instance()
    yield lambda: krita.activeDocument() is not None and krita.activeWindow() is not None
    document = krita.activeDocument()
    report = {"depth": document.colorDepth(), "layers": [], "statuses": []}
    yield from edit("whole", WORDS, document, report)
    selection = Selection()
    selection.select(20, 10, 60, 40, 255)
    document.setSelection(selection)
    yield from edit("selection", WORDS, document, report)
    yield from edit("cancel", "make it brighter", document, report)
    report["count"] = sum(node.type() == "paintlayer" for node in document.rootNode().childNodes())
    (OUT / "report.json").write_text(json.dumps(report))


def edit(name, words, document, report):
    """Open the dialog, have it edit, write down the topmost layer, close it."""
    Krita.instance().action("dimrt_edit").trigger()
    yield lambda: find_dialog() is not None
    dialog = find_dialog()
    status, stop = dialog.findChild(QLabel, "status"), dialog.findChild(QPushButton, "stop")
    dialog.findChild(QLineEdit, "words").setText(words)
    dialog.findChild(QPushButton, "go").click()
    if name == "cancel":
        yield lambda: dialog.findChild(QPlainTextEdit, "plan").toPlainText() != ""
        shot("running.png")
        stop.click()
    yield lambda: stop.text() == "Close"
    report["statuses"].append(status.text())
    layer = document.rootNode().childNodes()[-1]
    report["layers"].append(layer.name())
    (OUT / f"{name}.bgra").write_bytes(bytes(layer.pixelData(0, 0, document.width(), document.height())))
    QApplication.processEvents()
    shot(f"{name}.png")
    stop.click()
    yield lambda: find_dialog() is None


def find_dialog():
    """The plug-in's dialog, when it's shown."""
    shown = [w for w in QApplication.topLevelWidgets() if isinstance(w, QDialog) and w.objectName() == "dimrt"]
    return next((widget for widget in shown if widget.isVisible()), None)


def shot(name):
    """What is on the screen."""
    QApplication.primaryScreen().grabWindow(0).save(str(OUT / name))


Krita.instance().addExtension(Drive(Krita.instance()))
