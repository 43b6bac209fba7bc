"""CMYK by its profile (Little CMS, relative colorimetric, black point compensated), or by Pillow's plain formula."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from dimrt.photo.photo import Pixels

Convert = Callable[[Pixels], Pixels]
CMS_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
"""What an unusable profile raises."""


def to_rgb(icc: bytes | None) -> tuple[Convert, bool]:
    """What makes sRGB, uint8 [h, w, 3], of CMYK, uint8 [h, w, 4]; and whether the profile could be used."""
    return _converter(icc, "CMYK", "RGB")


def from_rgb(icc: bytes | None) -> tuple[Convert, bool]:
    """What makes CMYK, uint8 [h, w, 4], of sRGB, uint8 [h, w, 3]; and whether the profile could be used."""
    return _converter(icc, "RGB", "CMYK")


def _converter(icc: bytes | None, source: str, target: str) -> tuple[Convert, bool]:
    transform = None if icc is None else _transform(icc, source, target)

    def convert(pixels: Pixels) -> Pixels:
        image = Image.fromarray(np.ascontiguousarray(pixels), mode=source) if source == "CMYK" else _image(pixels)
        if transform is None:
            return np.asarray(image.convert(target))
        return np.asarray(ImageCms.applyTransform(image, transform))

    return convert, transform is not None


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _transform(icc: bytes, source: str, target: str) -> ImageCms.ImageCmsTransform | None:
    """Both ways must work, so that what was converted on reading can go back."""
    try:
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        both = {"CMYK": own, "RGB": srgb}
        made = [
            ImageCms.buildTransform(
                both[one],
                both[other],
                one,
                other,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            for one, other in ((source, target), (target, source))
        ]
    except CMS_ERRORS:
        return None
    return made[0]
