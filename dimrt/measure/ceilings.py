"""What this device can do at most: memory bandwidth, and operations of products by number format.

Products run through the runtime that runs the graphs, so a format that it has no kernels for has the rate of whatever
it does instead. A ceiling that can't be measured is left out, and the document says why.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import ResourceError
from dimrt.host import available_memory
from dimrt.measure.samples import Amount, timed

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
FORMATS = ("float32", "float16", "int8", "fp8")
MEGABYTE = 2**20
LARGE = 256 * MEGABYTE
"""Bytes of the arrays at least: more than the caches of most machines."""
OF_CACHE = 2
"""Arrays are this many times the last cache, where memory allows it."""
CACHED, AGAIN = 4 * MEGABYTE, 4
"""Bytes a thread reads from the last cache at most, and how often in one run."""
SHARE_OF_MEMORY = 8
"""No array takes more than this part of the free memory."""


class Prober(Protocol):
    """Measures one backend's device.

    Attributes:
        threads: of the processor that take part; None on a GPU.
        sizes: sides of the square products.
    """

    threads: int | None
    sizes: tuple[int, ...]

    def bandwidth(self, amount: Amount) -> "Bandwidth":
        """Bytes per second of reading and of copying."""

    def product(self, kind: str, size: int) -> tuple[Callable[[], None], int]:
        """Products of two square matrices, ready to be run, and how many of them a call runs.

        Raises:
            ResourceError: the runtime has none in this format; the message says why.
        """

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second, the best run of each.

    `read` is None where reading alone can't be measured, `cached` (reading what the last cache holds) where there is no
    such cache.
    """

    read: float | None
    copy: float
    array_bytes: int
    how: str
    cached: float | None = None


@dataclass
class Ceilings:
    """Bytes per second and operations per second.

    Attributes:
        bandwidth: of reading, or where that isn't known of copying (bytes read plus bytes written).
        cached: of reading what a processor's last cache holds.
        matmul: by number format.
        missing: why a format isn't in `matmul`.
        samples: seconds of every run, by what ran.
        cache_bytes: of a processor's last cache; what fits into it is not read from memory each time.
    """

    bandwidth: float | None = None
    copy: float | None = None
    cached: float | None = None
    matmul: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    cache_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "bandwidth": self.bandwidth,
            "copy": self.copy,
            "cached": self.cached,
            "matmul": self.matmul,
            "missing": self.missing,
            "settings": self.settings,
            "samples_s": self.samples,
        }


def measure(prober: Prober, amount: Amount, *, quick: bool = False) -> Ceilings:
    """All ceilings of a device.

    Args:
        amount: of runs of each thing.
        quick: without the largest product.
    """
    found = Ceilings(cache_bytes=0 if prober.threads is None else last_cache_bytes())
    found.settings |= {"threads": prober.threads, "cache_bytes": found.cache_bytes}
    try:
        bandwidth = prober.bandwidth(amount)
    except ResourceError as error:
        found.missing["bandwidth"] = str(error)
    else:
        found.bandwidth = bandwidth.copy if bandwidth.read is None else bandwidth.read
        found.copy, found.cached = bandwidth.copy, bandwidth.cached
        found.settings |= {"array_bytes": bandwidth.array_bytes, "bandwidth": bandwidth.how}
    sizes = prober.sizes[:-1] if quick else prober.sizes
    found.settings["product_sizes"] = list(sizes)
    for kind in FORMATS:
        try:
            for size in sizes:
                run, products = prober.product(kind, size)
                seconds = [value / products for value in timed(run, amount, warm_up=1)]
                found.samples[f"{kind} {size}"] = [round(value, 7) for value in seconds]
                found.matmul[kind] = max(found.matmul.get(kind, 0.0), 2 * size**3 / min(seconds))
        except ResourceError as error:
            found.missing[kind] = str(error)
    return found


def host_bandwidth(threads: int, amount: Amount) -> Bandwidth:
    """Of the processor's memory, an array a thread: a dot product (faster than a maximum) reads, a copy also writes."""
    size = array_bytes() // threads // 4096 * 4096
    sources = [np.ones(size // 4, np.float32) for _ in range(threads)]
    targets = [np.ones_like(source) for source in sources]  # ones: pages of zeros would all be the same one
    with ThreadPoolExecutor(threads) as pool:
        read = timed(lambda: list(pool.map(_read, sources)), amount, warm_up=1)
        copy = timed(lambda: list(pool.map(np.copyto, targets, sources)), amount, warm_up=1)
        small = min(last_cache_bytes() // (2 * threads), CACHED, size)
        pieces = [source[: small // 4] for source in sources]
        cached = timed(lambda: list(pool.map(_read_again, pieces)), amount, warm_up=1) if small else []
    total = size * threads
    return Bandwidth(
        read=total / min(read),
        copy=2 * total / min(copy),
        array_bytes=total,
        how="numpy: dot product and copy, all threads at once",
        cached=threads * AGAIN * small / min(cached) if cached else None,
    )


def _read(values: NDArray[np.float32]) -> None:
    np.dot(values, values)


def _read_again(values: NDArray[np.float32]) -> None:
    for _ in range(AGAIN):
        _read(values)


def array_bytes() -> int:
    """Bytes of all arrays of one measurement together: several times the last cache, but not all of the memory."""
    left = available_memory()
    wanted = max(LARGE, OF_CACHE * last_cache_bytes())
    return wanted if left is None else max(min(wanted, left // SHARE_OF_MEMORY), MEGABYTE)


def last_cache_bytes(root: Path = CACHES) -> int:
    """Bytes of the largest cache; 0 where the system doesn't say."""
    sizes = []
    for path in root.glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        number, unit = text[:-1], text[-1:]
        if number.isdecimal() and unit in "KMG":
            sizes.append(int(number) * 1024 ** ("KMG".index(unit) + 1))
    return max(sizes, default=0)


def operands(kind: str, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """What enters a product, and its weights: values between -1 and 1; of fp8 the weights' bytes, none of them NaN."""
    random = np.random.Generator(np.random.PCG64(size))
    left = random.uniform(-1, 1, (size, size)).astype("float16" if kind in ("float16", "fp8") else "float32")
    if kind in ("int8", "fp8"):
        return left, random.integers(-100 if kind == "int8" else 0, 100, (size, size), np.int8)
    return left, random.uniform(-1, 1, (size, size)).astype(kind)
