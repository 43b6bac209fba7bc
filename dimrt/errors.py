"""Typed errors. Each message names the file or flag, what was wrong and what to do next.

Exit codes of the command line: 0 done; 1 a check found a difference (verify, doctor, parity, a graph out of tolerance),
or photos of a batch failed; 2 bad input (file, flag, bundle, checkpoint); 3 the machine can't (disk full, memory, a
package that isn't installed); 130 cancelled; 141 whoever read the output went away.
"""

from traceback import clear_frames


class DimrtError(Exception):
    """Base of every error dimrt raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 2


class InputError(DimrtError):
    """A photo, mask, instruction, plan or option can't be used."""


class BundleError(DimrtError):
    """A bundle is missing, altered, of a newer format, or lacks what was asked of it."""


class AlteredBundle(BundleError):
    """The files of a bundle differ from its manifest: one is missing, added, of another size or has other bytes."""


class CheckpointError(DimrtError):
    """A checkpoint misses a tensor, holds an unexpected one, or one of another shape or dtype."""


class CheckFailed(DimrtError):
    """A verification ran and found a difference over its limit."""

    exit_code = 1


class ResourceError(DimrtError):
    """The machine can't do it: disk full, too little memory, a package or device that isn't there."""

    exit_code = 3


class Cancelled(DimrtError):
    """The caller cancelled; no result was written."""

    exit_code = 130

    def __init__(self, message: str = "cancelled; nothing was written") -> None:
        super().__init__(message)


def drop_frames(error: BaseException) -> None:
    """Let an error hold no variable of the functions it came through: some of them are engines."""
    seen: BaseException | None = error
    while seen is not None:
        clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
