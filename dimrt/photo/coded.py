"""Colours told by code points (ITU-T H.273) in place of a profile, as AVIF, HEIC and PNG may.

Display P3 gets a profile, so that it's converted for the model and the result says it in every format; the rest is
taken as sRGB, with a note where it's HDR.
"""

import struct

DISPLAY_P3 = 12
SRGB_CURVE = 13
HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range."""
P3_TO_XYZ = ((0.515121, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073))
"""Display P3's red, green and blue under D50 (SMPTE EG 432-1, adapted after Bradford)."""
WHITE = (0.9642, 1.0, 0.8249)


def coded_profile(code: tuple[int, int] | None) -> tuple[bytes | None, tuple[str, ...]]:
    """A profile that says the same, if it's one to be said, and notes for the user.

    Args:
        code: colour primaries and transfer characteristics.
    """
    if code is None:
        return None, ()
    primaries, transfer = code
    if transfer in HDR:
        return None, (f"the photo is HDR ({HDR[transfer]}): edited and written as if it were sRGB",)
    return (display_p3(), ()) if primaries == DISPLAY_P3 and transfer == SRGB_CURVE else (None, ())


def display_p3() -> bytes:
    """An ICC profile of version 4 for Display P3: its primaries and sRGB's curve (ICC.1:2022)."""
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {b"desc": _text("Display P3"), b"cprt": _text("no copyright"), b"wtpt": _xyz(WHITE)}
    tags |= {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), P3_TO_XYZ, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*WHITE)
    return head.ljust(128, b"\0") + table + body


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(content), 28) + content
