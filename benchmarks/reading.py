"""What a comparison says, in sentences made from its numbers alone: an interval that covers zero is no evidence."""

from typing import Any

from dimrt.export.nano.evaluate import SceneRow
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
    return "evidence of a gain" if difference.difference > 0 else "evidence of a loss"


def recorded(row: SceneRow) -> dict[str, Any]:
    """A row as it is kept: shares in percent with their intervals, tokens and seconds."""
    shares = {"success": row.both, "done": row.done, "kept": row.preserved}
    shares |= {f"plan_{name}": share for name, share in row.slots.items()}
    if row.right is not None:
        shares["plan_right"] = row.right
    kept = {name: [round(100 * value, 1) for value in (s.share, s.low, s.high)] for name, s in shares.items()}
    time = {"plan_s": round(row.plan_seconds, 4), "edit_s": round(row.seconds, 4)}
    return {"n": row.n, **kept, "tokens": round(row.tokens, 1), **time}


def kept(difference: Difference) -> dict[str, Any]:
    """A difference as it is kept, in percent points."""
    cases = {"n": difference.n, "only_first": difference.only_first, "only_second": difference.only_second}
    return cases | {name: round(100 * getattr(difference, name), 1) for name in ("difference", "low", "high")}


def sentence(where: str, what: str, difference: Difference) -> str:
    """One comparison in words."""
    return f"{where}, {what}: {points(difference)}: {verdict(difference)}."
