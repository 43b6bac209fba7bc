"""A plug-in for Krita 5: edits the open document, or its selection, through `dimrt worker`.

`python -m dimrt.examples.krita install` puts it, with the client that needs the standard library only, into Krita's
folder and enables it. In Krita it's Tools > Scripts > Edit with dimrt.
"""
