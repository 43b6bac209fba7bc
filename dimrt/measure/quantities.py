"""Numbers with their units, short enough to read."""

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
"""Prefixes of units, the largest first."""
PREFIXED = ("s", "B", "B/s", "op/s", "J", "W")
UNITS = {"bytes": "B", "bytes/s": "B/s", "ops/s": "op/s", "tokens/s": "tok/s"}
DIGITS = 3


def amount(value: float | None, unit: str) -> str:
    """Three digits and a unit: 0.01234 s is "12.3 ms", 25e9 bytes are "25 GB"; "-" for None.

    Args:
        value: the number.
        unit: "s", "bytes", "bytes/s", "ops/s", "J", "W", or anything else, which is written as it is.
    """
    if value is None:
        return "-"
    unit = UNITS.get(unit, unit)
    if unit not in PREFIXED or value == 0:
        return f"{digits(value)} {unit}".strip()
    most = 1.0 if unit == "s" else STEPS[0][0]  # nobody counts in kiloseconds
    fitting = ((step, prefix) for step, prefix in STEPS if step <= most and abs(value) >= step * 0.9995)
    step, prefix = next(fitting, STEPS[-1])
    return f"{digits(value / step)} {prefix}{unit}"


def digits(value: float) -> str:
    """Three digits, and all of a larger number's: 1234.5 is "1,234", 0.1 is "0.1"."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.{DIGITS}g}"
