"""Photo files made for tests: pictures, profiles, EXIF and XMP."""

import functools
import io
import struct

import numpy as np
import pyvips
from PIL import ExifTags, Image

SRGB_TO_XYZ = np.array(
    [[0.4360657, 0.3851515, 0.1430784], [0.2224932, 0.7168870, 0.0606169], [0.0139160, 0.0970764, 0.7140961]]
)
ADOBE_TO_XYZ = np.array(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
)
"""Primaries of sRGB and Adobe RGB (1998) under D50."""


def picture(width: int = 48, height: int = 36, dtype: type = np.uint8, channels: int = 3) -> np.ndarray:
    """Smooth colours with some noise, [height, width, channels], over nearly all of the range."""
    most = np.iinfo(dtype).max
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + 3 * c) + c) * np.cos(y / (7 + 2 * c)) for c in range(channels)]
    noise = np.random.default_rng(7).normal(0, 0.02, (height, width, channels))
    return np.clip((np.stack(waves, -1) * 0.45 + 0.5 + noise) * most, 0, most).astype(dtype)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    """The bytes of a file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **settings)
    return buffer.getvalue()


def vips_image(samples: np.ndarray) -> pyvips.Image:
    """uint8 or uint16 [H, W] or [H, W, C] for libvips."""
    bands = 1 if samples.ndim == 2 else samples.shape[2]
    kind = "ushort" if samples.dtype == np.uint16 else "uchar"
    image = pyvips.Image.new_from_memory(samples.tobytes(), samples.shape[1], samples.shape[0], bands, kind)
    names = {("ushort", False): "grey16", ("ushort", True): "rgb16", ("uchar", False): "b-w", ("uchar", True): "srgb"}
    return image.copy(interpretation=names[kind, bands > 2])


@functools.lru_cache
def bundled_profile(name: str) -> bytes:
    """A profile that libvips brings along: "p3" or "cmyk"."""
    mode = "cmyk" if name == "cmyk" else "srgb"
    image = vips_image(picture(8, 8)).icc_transform(name, input_profile="srgb")
    assert image.interpretation == mode or name == "p3"
    return bytes(image.get("icc-profile-data"))


def _profile(model: bytes, connection: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """An ICC profile of version 2.1 (ICC.1:2001-04, section 6)."""
    start = 132 + 12 * len(tags)
    table, body = b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, kind, model, connection)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _text(text: bytes) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def gamma_curve(gamma: float) -> bytes:
    """A "curv" tag of one exponent."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


WHITE = np.array([0.9642, 1.0, 0.8249])


def matrix_profile(to_xyz: np.ndarray, curve: bytes) -> bytes:
    """An RGB profile of primaries (under D50) and one curve for all."""
    tags = {b"desc": _text(b"made for tests"), b"cprt": b"text" + bytes(5), b"wtpt": _xyz(WHITE)}
    tags |= {name: _xyz(to_xyz[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def gray_profile(curve: bytes) -> bytes:
    """A gray profile of one curve."""
    tags = {b"desc": _text(b"gray for tests"), b"cprt": b"text" + bytes(5), b"wtpt": _xyz(WHITE), b"kTRC": curve}
    return _profile(b"GRAY", b"XYZ ", tags)


def table_profile(to_xyz: np.ndarray, gamma: float) -> bytes:
    """An RGB profile with tables both ways ("mft2") that mean the same as a matrix and an exponent."""
    steps = np.linspace(0, 1, 1024)
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    whole = 65535 / 32768  # XYZ in 16 bits goes up to 1.99997
    forth = corners @ to_xyz.T / whole
    fine = np.stack(np.meshgrid(*[np.linspace(0, 1, 33)] * 3, indexing="ij"), -1).reshape(-1, 3)
    back = np.clip(fine * whole @ np.linalg.inv(to_xyz).T, 0, 1)
    straight = np.tile([0.0, 1.0], (3, 1))
    tags = {b"desc": _text(b"tables for tests"), b"cprt": b"text" + bytes(5), b"wtpt": _xyz(WHITE)}
    tags[b"A2B0"] = _table(2, np.tile(steps**gamma, (3, 1)), forth, straight)
    tags[b"B2A0"] = _table(33, straight, back, np.tile(steps ** (1 / gamma), (3, 1)))
    return _profile(b"RGB ", b"XYZ ", tags, b"prtr")


def _table(grid: int, before: np.ndarray, nodes: np.ndarray, after: np.ndarray) -> bytes:
    head = b"mft2" + bytes(4) + bytes([3, 3, grid, 0]) + struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    head += struct.pack(">HH", before.shape[1], after.shape[1])
    return head + b"".join(np.round(part * 65535).astype(">u2").tobytes() for part in (before, nodes, after))


P3_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 tiff:Orientation="6" exif:PixelXDimension="36" xmp:Rating="4">
<exif:PixelYDimension>48</exif:PixelYDimension><tiff:ImageWidth>36</tiff:ImageWidth>
<xmp:Thumbnails><rdf:Alt><rdf:li>T0xE</rdf:li></rdf:Alt></xmp:Thumbnails>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Möwe</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()
"""A packet of a photo stored on its side."""


def an_exif(orientation: int | None = None, size: tuple[int, int] | None = None) -> bytes:
    """An EXIF block as Pillow writes it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "maker"
    inner: dict[int, object] = {ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09"}
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    if size is not None:
        inner |= {ExifTags.Base.ExifImageWidth: size[0], ExifTags.Base.ExifImageHeight: size[1]}
    exif[ExifTags.IFD.Exif] = inner
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif.tobytes()


def read_exif(block: bytes | None) -> Image.Exif:
    """The block as Pillow reads it."""
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    return exif
