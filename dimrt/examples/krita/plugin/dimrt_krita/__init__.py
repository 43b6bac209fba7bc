"""Edit with dimrt: a Krita extension. Needs what Krita brings: Python 3.8, PyQt5, the standard library."""

from krita import Krita

from dimrt_krita.extension import DimrtExtension

Krita.instance().addExtension(DimrtExtension(Krita.instance()))
