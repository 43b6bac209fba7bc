"""What a comparison says, in sentences made from its numbers alone: an interval that covers zero is no evidence."""

from dimrt.export.nano.shares import Difference, Share


def points(difference: Difference) -> str:
    """A difference of shares in percent points with its interval."""
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.difference:+.1f} points (95 %: {low:+.1f} to {high:+.1f}; n = {difference.n})"


def percent(share: Share) -> str:
    """A share with its interval."""
    return f"{100 * share.share:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def verdict(difference: Difference) -> str:
    """Whether the numbers show a difference, and which way."""
    if not difference.is_evidence:
        return "no evidence of a difference, for the interval covers 0"
    return "evidence that it helps" if difference.difference > 0 else "evidence that it harms"


def sentence(where: str, what: str, difference: Difference) -> str:
    """One comparison in words."""
    return f"{where}, {what}: {points(difference)}: {verdict(difference)}."
