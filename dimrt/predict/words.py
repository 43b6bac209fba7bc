"""Predicted times as they are said."""


def seconds(value: float) -> str:
    """Two to three digits, in the unit that reads best."""
    if value < 0.0995:
        return f"{value * 1000:.3g} ms"
    return f"{value:.2g} s" if value < 9.95 else f"{value:.0f} s"
