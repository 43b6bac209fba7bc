"""What a photo may ask of the machine, in one place; refused from the header, before anything is decoded."""

from dataclasses import dataclass

from dimrt.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Most that a photo file may have.

    Attributes:
        pixels: width times height.
        bytes: of the file.
        metadata: bytes of profile, EXIF, XMP and comments, unpacked.
    """

    pixels: int = 150_000_000
    bytes: int = 1 << 30
    metadata: int = 64 << 20

    def check_size(self, size: tuple[int, int], name: str) -> None:
        """Refuse an empty picture, and one of too many pixels.

        Raises:
            InputError: naming the file, its size and the limit.
        """
        width, height = size
        if width < 1 or height < 1:
            raise InputError(f"{name} is empty ({width} x {height} pixels)")
        if width * height > self.pixels:
            raise InputError(
                f"{name} has {width:,} x {height:,} pixels, more than the limit of {self.pixels:,}; "
                "make it smaller first"
            )

    def check_bytes(self, count: int, name: str) -> None:
        """Refuse a file that is too long.

        Raises:
            InputError: naming the file, its length and the limit.
        """
        if count > self.bytes:
            raise InputError(f"{name} has {count:,} bytes, more than the limit of {self.bytes:,}; give a smaller file")

    def check_metadata(self, count: int, name: str) -> None:
        """Refuse metadata that would take up too much memory.

        Raises:
            InputError: naming the file and the limit.
        """
        if count > self.metadata:
            raise InputError(
                f"{name} has more than {self.metadata:,} bytes of metadata, which is the limit; "
                "save it again without its metadata"
            )


LIMITS = Limits()
"""What is taken unless a caller says otherwise."""
