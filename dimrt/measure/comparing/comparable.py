"""Whether two documents of `dimrt bench` are of the same work, and what else tells them apart."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from dimrt.errors import InputError

FORMAT = 1
PARTS = ("card", "bundle", "settings", "edit")
"""What every document holds."""
SAME_BUNDLE = ("name", "task", "random")
SAME_SETTINGS = ("side", "steps", "guidance_scale", "plan_tokens", "photo", "instructions", "query")
"""What must agree for times to be of the same work."""
OTHER_SETTINGS = ("device", "target", "threads", "quick", "warm_up")
OTHER_BUNDLE = ("recipe", "digest")
OTHER_CARD = ("board", "processor", "power_mode", "gpu", "driver", "provider", "system", "memory_bytes")
"""What may differ, and explains a difference."""


def refuse(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Nothing, where two documents are of the same work.

    Raises:
        InputError: they aren't; the message says what differs.
    """
    for which, document in (("first", before), ("second", after)):
        if not all(isinstance(document.get(part), Mapping) for part in PARTS):
            raise InputError(f"the {which} file is no result of `dimrt bench`; give files written with its -o")
        if document.get("format") != FORMAT:
            raise InputError(
                f"the {which} file has format {document.get('format')}, this dimrt compares format {FORMAT}; "
                "measure again with the same version of dimrt"
            )
    for part, names in (("bundle", SAME_BUNDLE), ("settings", SAME_SETTINGS)):
        for name in names:
            one, other = before[part].get(name), after[part].get(name)
            if one != other:
                raise InputError(
                    f"these can't be compared: {part} {name} is {one!r} in the first file and {other!r} in the second; "
                    "measure both with the same"
                )


def warnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs besides the times, and may explain them; and what makes a document doubtful."""
    for part, names in (("settings", OTHER_SETTINGS), ("bundle", OTHER_BUNDLE), ("card", OTHER_CARD)):
        for name in names:
            one, other = before.get(part, {}).get(name), after.get(part, {}).get(name)
            if one != other:
                yield f"{part} {name.replace('_', ' ')}: {_said(one)} before, {_said(other)} after"
    versions = [document.get("card", {}).get("versions", {}) for document in (before, after)]
    for name in dict.fromkeys((*versions[0], *versions[1])):
        one, other = versions[0].get(name), versions[1].get(name)
        if one != other:
            yield f"{name}: {_said(one)} before, {_said(other)} after"
    clocks = [document.get("card", {}).get("clocks") or {} for document in (before, after)]
    for name in ("cpu_max_mhz", "gpu_max_mhz"):
        if clocks[0].get(name) != clocks[1].get(name):
            yield f"{name}: {_said(clocks[0].get(name))} before, {_said(clocks[1].get(name))} after"
    for which, document in (("before", before), ("after", after)):
        if document.get("throttled"):
            yield f"the machine was slowed down by heat or power {which}"
    lengths = [(document.get("decode") or {}).get("tokens") for document in (before, after)]
    if lengths[0] and lengths[1] and median(lengths[0]) != median(lengths[1]):
        yield f"tokens of a plan: {median(lengths[0]):g} before, {median(lengths[1]):g} after"


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)
