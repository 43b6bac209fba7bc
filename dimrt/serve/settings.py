"""What a server allows, and how much it keeps."""

from dataclasses import dataclass, field

from dimrt.photo.limits import LIMITS

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Limits of one server. Bytes, pixels and seconds.

    Attributes:
        token: what a caller must know.
        public: whether it listens beyond this machine. The Host header may then be any address in digits: a name is
            what a page elsewhere could point at this server.
        hosts: names that the Host header may be besides.
        max_upload: bytes of one request's body.
        max_pixels: pixels of one photo.
        photo_memory: bytes of photos kept for their next edit; the one used longest ago goes first.
        result_memory: bytes of finished pictures kept until they are fetched.
        queue: edits that may wait.
        uploads: bodies that are read at a time; further ones wait.
        read_timeout: how long the next piece of a request may take.
        body_timeout: how long a whole body may take.
        heartbeat: time between two signs of life in a stream of events.
    """

    token: str = field(repr=False)
    public: bool = False
    hosts: frozenset[str] = frozenset()
    max_upload: int = 256 * MEBIBYTE
    max_pixels: int = LIMITS.pixels
    photo_memory: int = 1024 * MEBIBYTE
    result_memory: int = 1024 * MEBIBYTE
    queue: int = 16
    uploads: int = 2
    read_timeout: float = 20.0
    body_timeout: float = 600.0
    heartbeat: float = 10.0
