"""How a run stops before its end: on a signal, or at numbers that aren't finite."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dimrt.errors import CheckFailed

SHOWN = 8
"""How many examples a message lists."""


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event, for a stop after the step; a second SIGINT interrupts at once.

    Outside the main thread, which alone gets signals, the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def not_finite(step: int, player: str, found: Sequence[tuple[list[str], list[str]]], kept: int) -> CheckFailed:
    """The error of a loss or gradient that isn't finite.

    Args:
        found: of each process, the examples of parts whose loss wasn't finite, and all its examples.
        kept: the step whose state is kept.
    """
    keys = [key for broken, _ in found for key in broken]
    what = "loss" if keys else "gradient"
    shown = keys or [key for _, every in found for key in every]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return CheckFailed(
        f"step {step}: the {what} of {player} isn't finite, among the examples {', '.join(shown[:SHOWN])}{more}; the "
        f"state of step {kept} is kept. Look at these examples; else lower the rate (optimizer.{player}.rate) or clip, "
        "and resume"
    )
