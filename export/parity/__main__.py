"""`python -m dimrt.export.parity FOLDER`: compare everything, a line for each item."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import torch

from dimrt.errors import CheckFailed, DimrtError
from dimrt.export.parity.autoencoder import autoencoder_items, connector_items
from dimrt.export.parity.chain import chain_items
from dimrt.export.parity.designer import designer_items
from dimrt.export.parity.items import Item
from dimrt.export.parity.painter import painter_items
from dimrt.export.parity.pictures import picture_items, span_items
from dimrt.export.parity.reference import Reference, load_reference
from dimrt.export.parity.sampler import sampler_items

GROUPS: dict[str, Callable[[Reference], Iterator[Item]]] = {
    "painter": painter_items,
    "sampler": sampler_items,
    "connector": connector_items,
    "designer": designer_items,
    "autoencoder": autoencoder_items,
    "pictures": picture_items,
    "spans": span_items,
    "chain": chain_items,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; 0 when all is within its limit, 1 when an item is over, 2 when the folder can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m dimrt.export.parity",
        description="Compare the model and the runtime's host code with numbers of the original inference.",
    )
    parser.add_argument("folder", help="a folder laid out like tests/fixtures/reference")
    parser.add_argument("--only", choices=GROUPS, help="compare one part alone")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args(arguments)
    try:
        over = _report(options.folder, options.only, options.json)
    except DimrtError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return CheckFailed.exit_code if over else 0


@torch.no_grad()
def _report(folder: str, only: str | None, as_json: bool) -> int:
    """Print every item; return how many are over their limit."""
    reference = load_reference(folder)
    items = []
    for group in [GROUPS[only]] if only else GROUPS.values():
        for item in group(reference):
            items.append(item)
            if not as_json:
                mark = "ok  " if item.ok else "OVER"
                sys.stdout.write(f"{mark} {item.error:9.2e} of {item.limit:8.1e}  {item.name}\n")
    over = sum(not item.ok for item in items)
    if as_json:
        listed = [{"item": i.name, "error": _finite(i.error), "limit": i.limit, "ok": i.ok} for i in items]
        sys.stdout.write(json.dumps({"folder": folder, "items": listed, "over": over}, indent=1) + "\n")
    else:
        sys.stdout.write(f"{len(items)} items, {over} over their limit\n")
    return over


def _finite(error: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return error if abs(error) < float("inf") else None


if __name__ == "__main__":
    raise SystemExit(main())
