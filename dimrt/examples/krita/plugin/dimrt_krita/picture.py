"""What is taken from a document and given back to it."""

from PyQt5.QtCore import QBuffer, QByteArray, QIODevice
from PyQt5.QtGui import QImage

PROFILE = "sRGB-elle-V2-srgbtrc.icc"
"""Krita's own sRGB, in which it hands pictures over."""


class Task:
    """One document to edit.

    Attributes:
        document: Krita's.
        photo, mask: PNG files as bytes; the mask is the selection, or None.
        place: left, top, width and height of what may change.
    """

    def __init__(self, document, photo, mask, place):
        self.document = document
        self.photo = photo
        self.mask = mask
        self.place = place

    def add_layer(self, name, encoded):
        """Put a finished picture on top of the document, as far as it may have changed; returns the layer."""
        left, top, width, height = self.place
        image = QImage.fromData(encoded).convertToFormat(QImage.Format_ARGB32).copy(left, top, width, height)
        layer = self.document.createNode(name, "paintlayer")
        layer.setColorSpace("RGBA", "U8", PROFILE)
        bits = image.constBits()
        bits.setsize(image.byteCount())
        layer.setPixelData(QByteArray(bytes(bits)), left, top, width, height)
        self.document.rootNode().addChildNode(layer, None)
        self.document.refreshProjection()
        return layer


def take(document):
    """What is seen of a document, and its selection."""
    width, height = document.width(), document.height()
    photo = png(document.projection(0, 0, width, height))
    selection = document.selection()
    if selection is None:
        return Task(document, photo, None, (0, 0, width, height))
    levels = bytes(selection.pixelData(0, 0, width, height))
    mask = png(QImage(levels, width, height, width, QImage.Format_Grayscale8))
    left, top = max(0, selection.x()), max(0, selection.y())
    right, bottom = min(width, selection.x() + selection.width()), min(height, selection.y() + selection.height())
    return Task(document, photo, mask, (left, top, right - left, bottom - top))


def png(image):
    """A picture as the bytes of a PNG file."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.WriteOnly)
    image.save(buffer, "PNG", 80)
    return bytes(data)
