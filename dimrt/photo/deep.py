"""Pictures of 16 bits a channel in and out, through libvips (extra `photo`).

Pillow cuts them down to 8 without a word. libvips gives their samples unchanged.
"""

import importlib
import io
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from dimrt.errors import InputError, ResourceError
from dimrt.photo.header import Header
from dimrt.photo.parts import Parts
from dimrt.photo.photo import Native, Photo, Samples
from dimrt.photo.planes import strips
from dimrt.photo.png_write import PngStream
from dimrt.photo.unpack import profiled_gray
from dimrt.photo.upright import Canvas

EXTRA = 'pip install "dimrt[photo]"'
LOADERS = {"PNG": "pngload_source", "TIFF": "tiffload_source", "AVIF": "heifload_source"}
CHUNK = 1 << 22
"""Bytes that libvips is given at a time."""


def read_deep(file: BinaryIO, header: Header, orientation: int, name: str) -> Photo:
    """Read a PNG or TIFF of 16 bits a channel, or an AVIF of 10 or 12, as a photo without path, EXIF and XMP.

    Raises:
        InputError: damaged, or of a kind that can't be given back unchanged.
        ResourceError: pyvips isn't installed.
    """
    _check_kind(header, name)
    vips = _vips(name)
    try:
        source = _source(vips, file, header)
        load = getattr(vips.Image, LOADERS[header.kind])
        image = load(source, access="sequential", fail_on="error")
        bands = image.bands
        if image.format != "ushort" or bands > 4:
            raise InputError(f"{name} has {bands} channels of type {image.format}; convert it to 16-bit RGB")
        colours, alphas = (1, bands - 1) if bands < 3 else (3, bands - 3)
        size = image.width, image.height
        samples = Canvas(size, colours, orientation, np.uint16)
        alpha = Canvas(size, 1, orientation, np.uint16) if alphas else None
        region = vips.Region.new(image)
        for _, top, _, bottom in strips((0, 0, *size)):
            data = region.fetch(0, top, size[0], bottom - top)
            part = np.frombuffer(data, np.uint16).reshape(bottom - top, size[0], bands)
            if header.bits < 16:
                part = stretched(part, header.bits)
            samples.stored[top:bottom] = part[..., :colours] if colours > 1 else part[..., 0]
            if alpha is not None:
                alpha.stored[top:bottom] = part[..., colours]
    except vips.Error as error:
        raise InputError(f"{name} is truncated or damaged ({_short(error)}); get a complete copy") from error
    return _photo(samples.upright, alpha.upright if alpha else None, header)


def stretched(samples: Samples, bits: int) -> Samples:
    """Samples of 10 or 12 bits, in the upper bits of 16, spread over all of 0 to 65535."""
    most = (1 << bits) - 1
    values: Samples = ((samples >> (16 - bits)).astype(np.uint32) * 65535 + most // 2) // most
    return values.astype(np.uint16)


def squeezed(samples: Samples, bits: int) -> Samples:
    """The other way round: the nearest of 10 or 12 bits, in the upper bits of 16."""
    most = (1 << bits) - 1
    values: Samples = (samples.astype(np.uint32) * most + 32767) // 65535
    return (values << (16 - bits)).astype(np.uint16)


def _photo(samples: Samples, alpha: Samples | None, header: Header) -> Photo:
    icc = header.icc
    if samples.ndim == 3:
        bits = Native("RGB", bits=header.bits) if header.bits != 16 else None
        usable = icc is None or icc[16:20] == b"RGB "
        notes = () if usable else ("RGB with an unusable profile: taken as sRGB without it",)
        return Photo(samples, alpha, icc if usable else None, notes=notes, native=bits)
    if icc is not None and icc[16:20] != b"RGB ":
        return profiled_gray(samples, alpha, icc)
    return Photo(np.repeat(samples[..., None], 3, axis=2), alpha, icc, native=Native("L"))


def _check_kind(header: Header, name: str) -> None:
    """Refuse what isn't 16-bit gray or RGB of whole numbers."""
    if header.kind not in LOADERS:
        raise InputError(f"{name} has {header.bits} bits a channel, which dimrt reads from PNG and TIFF; convert it")
    tags = header.tags
    if header.kind != "TIFF":
        return
    if header.bits != 16 or set(tags["bits"]) != {16} or set(tags["format"]) - {1}:
        raise InputError(f"{name} isn't of 8 or 16 whole bits a channel; convert it to a 16-bit TIFF")
    if (tags["colours"] or [0])[0] not in {0, 1, 2}:
        raise InputError(f"{name} has 16 bits a channel and is neither gray nor RGB; convert it to 16-bit RGB")
    if 1 in tags["extra"]:
        raise InputError(f"{name} has 16-bit colours multiplied by alpha; save it with unassociated alpha")


def _vips(name: str) -> ModuleType:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise ResourceError(f"{name}: more than 8 bits a channel need pyvips: {EXTRA}") from error
    module: ModuleType = pyvips
    return module


def _source(vips: Any, file: BinaryIO, header: Header) -> Any:
    """The file for libvips; must live until the last row has been fetched, as it may hold what is called back.

    Of a PNG libvips gets the pixels alone, as Pillow does: what else is packed in it has been read already.
    """
    if header.kind != "PNG" and isinstance(file, io.BytesIO):
        return vips.Source.new_from_memory(file.getvalue())
    if header.kind != "PNG" and isinstance(file, io.BufferedReader) and isinstance(file.name, str):
        return vips.Source.new_from_file(file.name)
    parts = Parts(file, header.pixels) if header.kind == "PNG" else file

    def read(length: int) -> bytes:
        try:
            return parts.read(min(length, CHUNK)) or b""
        except OSError:
            return b""  # an error can't pass through libvips, which finds the file cut off

    def seek(offset: int, whence: int) -> int:
        try:
            return parts.seek(offset, whence)
        except (ValueError, OSError):
            return -1  # a damaged file asks for places that there aren't

    source = vips.SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    return source


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]


def check_extra(package: str, what: str) -> None:
    """Refuse what needs an optional package that isn't there, before any work is done for it.

    Raises:
        ResourceError: naming the extra.
    """
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise ResourceError(f"{what} need{'s' if package == 'pillow_heif' else ''} {package}: {EXTRA}") from error


def write_deep_png(stream: PngStream, samples: Samples, alpha: Samples | None, name: str) -> None:
    """Write a PNG of 16 bits a channel.

    Args:
        stream: takes the bytes, and adds the metadata.
        samples: uint16 [H, W] or [H, W, 3].
        alpha: uint16 [H, W], or None.
        name: of the picture in errors.
    """
    vips = _vips(name)
    image = _image(vips, samples)
    if alpha is not None:
        image = image.bandjoin(_image(vips, alpha))
    target, failures = _target(vips, stream)
    try:
        image.pngsave_target(target, bitdepth=16, keep="none")
    except vips.Error as error:
        raise failures[0] if failures else ResourceError(f"{name} can't be encoded ({_short(error)})") from error
    if failures:
        raise failures[0]


def write_deep_avif(
    file: BinaryIO, pixels: Samples, bits: int, quality: int, metadata: dict[str, bytes | None], name: str
) -> None:
    """Write an AVIF of 10 or 12 bits a channel, with full colour resolution.

    Args:
        pixels: uint16 [H, W, 3 or 4].
        metadata: by the names of libvips.
    """
    vips = _vips(name)
    image = _image(vips, squeezed(pixels, bits)).copy()
    for key, block in metadata.items():
        if block is not None:
            image.set_type(vips.GValue.blob_type, key, block)
    try:
        file.write(image.heifsave_buffer(compression="av1", bitdepth=bits, Q=quality, subsample_mode="off"))
    except vips.Error as error:
        raise ResourceError(f"{name}: this libvips can't write AVIF ({_short(error)}); use .png") from error


def _image(vips: Any, samples: Samples) -> Any:
    """The samples for libvips, not copied when their rows lie one after the other."""
    height, width = samples.shape[:2]
    bands = samples.shape[2] if samples.ndim == 3 else 1
    image = vips.Image.new_from_memory(np.ascontiguousarray(samples), width, height, bands, "ushort")
    return image.copy(interpretation="rgb16" if bands > 2 else "grey16")


def _target(vips: Any, stream: PngStream) -> tuple[Any, list[OSError]]:
    """Where libvips writes to, and what went wrong there: nothing is raised through it."""
    failures: list[OSError] = []

    def take(data: bytes) -> int:
        if failures:
            return -1
        try:
            return stream.write(data)
        except OSError as error:
            failures.append(error)
            return -1

    target = vips.TargetCustom()
    target.on_write(take)
    return target, failures
