"""How far `dimrt estimate` is off: predicted against published and measured times, and the efficiencies fitted to them.

Figures are those of `published.toml` and, with `--bench FILE`, the graphs of documents that `dimrt bench -o FILE`
wrote, whose ceilings then stand for the device's rates. Efficiencies are fitted family by family so that the median
ratio of predicted and real time, in logarithms, is as near to one as it can be; each figure is predicted by a fit
without any figure of its model (of its device, where a family has few models), so that no prediction saw its own answer
or one like it.

    python benchmarks/estimate_error.py                                      # compare with what is committed
    python benchmarks/estimate_error.py --bench benchmarks/results/bench-wide-*.json --bundle two-layers --write

fits, and writes efficiency.toml; the bundle, which `benchmarks/shallow_bundle.py` makes, is for whole edits.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from bench_figures import bench_figures, edit_error
from common import write_result
from published_figures import Figure, read_figures

from dimrt.bundle import Bundle, find_bundle
from dimrt.predict.efficiency import FILE, Efficiency, efficiencies
from dimrt.predict.rates import OTHER, PROCESSOR, Basis
from dimrt.predict.roofline import Time, run_time

SHARE, START_S = (0.02, 1.0), (1e-6, 1.5e-3)
"""What shares and starting costs are looked for in: a host doesn't need longer to start a run; what takes longer is
something else, such as turning weights into floats."""
UNFUSED = 0.11
"""Of bytes between the nodes of a graph that go through a GPU's memory: half of those between modules, as engines fuse
what is elementwise with the products beside it. An assumption: figures don't tell it from the arithmetic's share."""
QUANTIZED = {"geforce": {"int8": 0.5, "fp8": 0.75}, "data center": {"int8": 1.0, "fp8": 1.0}}
"""Of a family's share, what is assumed of formats that no figure is of. A GeForce's stated rate in half precision is
the one with sums in float32, half of what its tensor cores do; int8's rate is the whole one, fp8's is in between in
practice."""
STREAMED = 0.7
"""Share of the bandwidth that a processor's kernels reach, assumed where every graph's weights fit into its cache."""
INT8 = 0.4
"""Where the search for a processor's share in int8 begins."""
OF_SHEET = 0.8
"""What a processor's measured ceilings are of its data sheet's rates; an assumption."""
NINE_OF_TEN = 0.9
ENOUGH_MODELS = 4
"""To fit without one of them."""
HEADER = """# What share of a device's rates engines reach. Written by benchmarks/estimate_error.py, which says how.
# Don't edit numbers by hand. `error`: nine of ten figures were predicted within this factor by a fit that didn't know
# them.
"""


@dataclass(frozen=True)
class Family:
    """Figures that share efficiencies."""

    name: str
    basis: Basis
    figures: tuple[Figure, ...]


def families(figures: Sequence[Figure]) -> list[Family]:
    """Figures by family and basis of their rates."""
    found: dict[tuple[str, Basis], list[Figure]] = {}
    for figure in figures:
        found.setdefault((figure.rates.family, figure.rates.basis), []).append(figure)
    return [Family(name, basis, tuple(members)) for (name, basis), members in sorted(found.items())]


def predicted(figure: Figure, efficiency: Efficiency) -> Time:
    """The time of a figure's pieces."""
    return sum((run_time(work, figure.rates, efficiency) * count for work, count in figure.pieces), Time())


def off_by(figure: Figure, efficiency: Efficiency) -> float:
    """Logarithm of predicted over real time."""
    return math.log(predicted(figure, efficiency).seconds / figure.seconds)


def fit(family: Family, figures: Sequence[Figure], source: str = "") -> Efficiency:
    """The efficiencies with the least sum of absolute logarithms (so that a figure that nothing explains, like one of a
    runtime that does something else, doesn't bend the others).
    """
    processor = family.name == PROCESSOR

    def made(values: Sequence[float]) -> Efficiency:
        bandwidth, arithmetic, start, unfused, *quantized = values
        shares = {"other": _short(arithmetic)}
        guessed = QUANTIZED.get(family.name, {})
        shares |= {form: _short(part * arithmetic) for form, part in guessed.items()}
        if quantized:
            shares["int8"] = _short(quantized[0])
        return Efficiency(
            family.name,
            family.basis,
            _short(bandwidth),
            shares,
            _short(unfused),
            _short(start),
            source,
            tuple(guessed),
        )

    def loss(values: Sequence[float]) -> float:
        efficiency = made(values)
        return sum(abs(off_by(figure, efficiency)) for figure in figures)

    if not processor:
        return made(search(loss, [0.6, 0.4, 2e-4, UNFUSED], [SHARE, SHARE, START_S, (UNFUSED, UNFUSED)]))
    works = [work for figure in figures for work, _ in figure.pieces]
    streams = any(work.weights > figure.rates.cache for figure in figures for work, _ in figure.pieces)
    bandwidth = SHARE if streams else (STREAMED, STREAMED)
    begin, bounds = [STREAMED, 0.8, 1e-4, 0.3], [bandwidth, SHARE, START_S, (0.01, 4.0)]
    if any("int8" in work.operations for work in works):
        begin, bounds = [*begin, INT8], [*bounds, SHARE]
    return made(search(loss, begin, bounds))


def search(
    loss: Callable[[Sequence[float]], float], start: Sequence[float], bounds: Sequence[tuple[float, float]]
) -> list[float]:
    """Coordinates changed by ever smaller factors while that lessens the loss (pattern search in logarithms)."""
    best, factor = list(start), 2.0
    least = loss(best)
    while factor > 1.002:
        better = False
        for index, (low, high) in enumerate(bounds):
            for scale in (factor, 1 / factor):
                tried = [*best]
                tried[index] = min(max(tried[index] * scale, low), high)
                value = loss(tried)
                if value < least - 1e-9:
                    best, least, better = tried, value, True
        if not better:
            factor = math.sqrt(factor)
    return best


def judge(family: Family) -> tuple[Efficiency, list[dict[str, Any]]]:
    """A family's efficiencies, and of each figure what a fit without its like predicts."""
    sources = sorted({figure.source.split(",")[0] for figure in family.figures})
    rows = []
    for left_out in family.figures:
        blind = fit(family, strangers(family, left_out))
        time = predicted(left_out, blind)
        rows.append(
            {
                "device": left_out.rates.name,
                "what": left_out.what,
                "published_s" if left_out.rates.basis == "data sheet" else "measured_s": left_out.seconds,
                "predicted_s": round(time.seconds, 6),
                "ratio": round(time.seconds / left_out.seconds, 3),
                "bound": time.bound,
                "source": left_out.source,
            }
        )
    factors = sorted(max(row["ratio"], 1 / row["ratio"]) for row in rows)
    error = factors[min(math.ceil(NINE_OF_TEN * len(factors)), len(factors)) - 1]
    whole = fit(family, family.figures, f"fitted to {len(rows)} figures: {'; '.join(sources)}")
    return msgspec.structs.replace(whole, error=round(error, 2), figures=len(rows)), rows


def strangers(family: Family, figure: Figure) -> list[Figure]:
    """Figures of other models; where a family knows too few models, those of other devices."""
    models = {other.model for other in family.figures}
    if len(models) >= ENOUGH_MODELS:
        return [other for other in family.figures if other.model != figure.model]
    return [other for other in family.figures if other.rates.name != figure.rates.name] or list(family.figures)


def assumed(judged: Sequence[Efficiency]) -> list[Efficiency]:
    """Families that no figure is of, and processors by their data sheet."""
    found = []
    for entry in judged:
        if (entry.family, entry.basis) == ("geforce", "data sheet"):
            other = {"family": OTHER, "source": "assumed: as GeForce cards"}
            found.append(msgspec.structs.replace(entry, error=None, figures=0, **other))
        if (entry.family, entry.basis) == (PROCESSOR, "ceilings"):
            found.append(
                msgspec.structs.replace(
                    entry,
                    basis="data sheet",
                    bandwidth=_short(entry.bandwidth * OF_SHEET),
                    arithmetic={name: _short(share * OF_SHEET) for name, share in entry.arithmetic.items()},
                    error=None,
                    figures=0,
                    source=f"assumed: as measured on a processor, with ceilings of {OF_SHEET} of a data sheet's rates",
                )
            )
    return found


def write(entries: Sequence[Efficiency], path: Path = FILE) -> None:
    """`efficiency.toml`."""
    blocks = [HEADER]
    for entry in entries:
        lines = ["[[family]]", f'family = "{entry.family}"', f'basis = "{entry.basis}"']
        lines.append(f"bandwidth = {entry.bandwidth}")
        shares = ", ".join(f"{name} = {share}" for name, share in entry.arithmetic.items())
        lines += [f"arithmetic = {{ {shares} }}", f"unfused = {entry.unfused}", f"start_s = {entry.start_s}"]
        if entry.assumed:
            lines.append(f"assumed = {json.dumps(entry.assumed)}")
        if entry.error is not None:
            lines += [f"error = {entry.error}", f"figures = {entry.figures}"]
        lines.append(f'source = "{entry.source}"')
        blocks.append("\n".join(lines) + "\n")
    path.write_text("\n".join(blocks), encoding="utf-8")


def _short(number: float) -> float:
    """Three digits: more would be noise."""
    return float(f"{number:.3g}")


def main() -> None:
    """Fit, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", type=Path, nargs="*", default=[], help="documents of `dimrt bench`")
    parser.add_argument("--bundle", help="the bundle that the documents are of [default: nano]")
    parser.add_argument("--write", action="store_true", help="write dimrt/predict/efficiency.toml")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    documents = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in args.bench}
    figures = read_figures()
    for name, document in documents.items():
        figures += bench_figures(document, name)
    entries: list[Efficiency] = []
    measured: dict[str, Any] = {}
    for family in families(figures):
        entry, rows = judge(family)
        entries.append(entry)
        measured[f"{family.name} ({family.basis})"] = {"efficiency": msgspec.to_builtins(entry), "figures": rows}
        print(f"\n{family.name} ({family.basis}): {entry.error} in nine of ten of {len(rows)}")
        for row in rows:
            print(f"{row['ratio']:6.2f}  {row['device']:<22}{row['what']}")
    if args.write:
        write_all(entries)
        efficiencies.cache_clear()
    opened = Bundle.open(find_bundle(args.bundle or "nano")[0], verify="layout")
    edits = {name: edit_error(document, name, opened) for name, document in documents.items()}
    write_result("estimate-error", {"bench": list(documents)}, {**measured, "whole edits": edits}, args.out)


def write_all(entries: Sequence[Efficiency]) -> None:
    """What was fitted, what is assumed after it, and what is known of other families."""
    made = [*entries, *assumed(entries)]
    names = {(entry.family, entry.basis) for entry in made}
    write([*made, *(entry for entry in efficiencies() if (entry.family, entry.basis) not in names)])


if __name__ == "__main__":
    main()
