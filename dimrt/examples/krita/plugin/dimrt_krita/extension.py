"""The menu entry, and the one worker that all documents share."""

import json
import os
from pathlib import Path

from krita import Extension, Krita
from PyQt5.QtWidgets import QMessageBox

from dimrt_krita.client import Client
from dimrt_krita.dialog import EditDialog
from dimrt_krita.picture import take

FOREIGN = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "QT_PLUGIN_PATH")
"""Variables by which a packed Krita finds its own libraries; the worker has others."""


class DimrtExtension(Extension):
    """Tools > Scripts > Edit with dimrt."""

    def __init__(self, parent):
        super().__init__(parent)
        settings = json.loads((Path(__file__).parent / "worker.json").read_text(encoding="utf-8"))
        env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        self.client = Client(settings["command"], env=env)
        self.dialog = None

    def setup(self):
        """Nothing to do when Krita starts: the worker starts with the first edit."""

    def createActions(self, window):
        """Called for each window of Krita's."""
        action = window.createAction("dimrt_edit", "Edit with dimrt…", "tools/scripts")
        action.triggered.connect(self.ask)

    def ask(self):
        """Show the dialog for the open document."""
        document = Krita.instance().activeDocument()
        window = Krita.instance().activeWindow().qwindow()
        if document is None:
            QMessageBox.information(window, "dimrt", "Open a picture first.")
            return
        if self.dialog is not None and self.dialog.isVisible():
            self.dialog.raise_()
            return
        self.dialog = EditDialog(self.client, take(document), window)
        self.dialog.show()
