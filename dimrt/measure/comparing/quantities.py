"""Numbers with their units, short enough to read."""

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
"""Prefixes of units, the largest first."""
PREFIXED = ("s", "B", "B/s", "op/s", "J", "W")
UNITS = {"bytes": "B", "bytes/s": "B/s", "ops/s": "op/s", "tokens/s": "tok/s"}
DIGITS = 3


def amount(value: float | None, unit: str) -> str:
    """Three digits and a unit: 0.0123 s is "12.3 ms", 25e9 bytes are "25.0 GB"; "-" for None.

    Args:
        value: the number.
        unit: "s", "bytes", "bytes/s", "ops/s", "tokens/s", "J", "W", or anything else, which is written as it is.
    """
    if value is None:
        return "-"
    step, prefix = _step(value, unit)
    return f"{digits(value / step)} {prefix}{UNITS.get(unit, unit)}".strip()


def tick(value: float, unit: str) -> str:
    """A round number of an axis, without the zeros that it doesn't need."""
    step, prefix = _step(value, unit)
    return f"{value / step:g} {prefix}{UNITS.get(unit, unit)}" if value else "0"


def percent(share: float, places: int = 0) -> str:
    """0.831 is "83 %"."""
    return f"{100 * share:.{places}f} %"


def change(share: float, places: int = 0) -> str:
    """0.1 is "+10 %", 0 is "0 %"."""
    return f"{100 * share:+.{places}f} %" if round(100 * share, places) else "0 %"


def digits(value: float) -> str:
    """Three digits, and all of a larger number's: 1234.5 is "1,234", 5.3 is "5.30"."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.{DIGITS}g}".rstrip(".")


def _step(value: float, unit: str) -> tuple[float, str]:
    """What the number is divided by, and the prefix that says so."""
    if UNITS.get(unit, unit) not in PREFIXED or value == 0:
        return 1.0, ""
    most = 1.0 if unit == "s" else STEPS[0][0]  # nobody counts in kiloseconds
    fitting = ((step, prefix) for step, prefix in STEPS if step <= most and abs(value) >= step * 0.9995)
    return next(fitting, STEPS[-1])
