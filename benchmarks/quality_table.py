"""The result of `quality.py` as plain text: `python benchmarks/quality_table.py results/quality.json`."""

import json
import sys
from pathlib import Path
from typing import Any


def table(recipes: dict[str, Any]) -> str:
    """Whole bundles, then one graph at a time, then the goals."""
    return "\n".join([*_whole(recipes), "", *_graphs(recipes), "", *_goals(recipes)])


def _whole(recipes: dict[str, Any]) -> list[str]:
    lines = [
        f"{'':<10}{'':>8}  {'fp32 plan given to both':^45}  {'own plan':^45}",
        f"{'recipe':<10}{'MB':>8}  {'painted':>9}{'worst':>8}{'full':>8}{'FLIP':>10}{'SSIM':>10}"
        f"  {'painted':>9}{'slots':>9}{'exact':>9}{'success':>9}{'to fp32':>9}",
    ]
    for name, row in recipes.items():
        painted, full = row["given_plan"]["painted"], row["given_plan"]["full_size"]
        plans, success = row["plans"], row["success"]
        lines.append(
            f"{name:<10}{row['bytes'] / 1e6:>8.2f}  {painted['psnr_db']:>9.1f}{painted['psnr_worst_db']:>8.1f}"
            f"{full['psnr_db']:>8.1f}{painted['flip_mean']:>10.4f}{painted['ssim_mean']:>10.4f}"
            f"  {row['own_plan']['painted']['psnr_db']:>9.1f}{plans['equal_slots_percent']:>8.1f}%"
            f"{plans['exact_percent']:>8.1f}%{success['percent']:>8.1f}%{success['difference_points']:>+9.1f}"
        )
    return lines


def _graphs(recipes: dict[str, Any]) -> list[str]:
    """Painted decibels with one graph of the recipe and six in float32."""
    graphs = list(next(iter(recipes.values()))["graphs"]) if recipes else []
    lines = ["one graph of the recipe, six in fp32: painted dB with the fp32 plan; slots and success of the own plan"]
    lines.append(f"{'recipe':<10}" + "".join(f"{graph:>11}" for graph in graphs))
    for name, row in recipes.items():
        cells = [row["graphs"][graph] for graph in graphs]
        lines.append(f"{name:<10}" + "".join(f"{cell['given_plan']['psnr_db']:>11.1f}" for cell in cells))
        slots = (f"{cell['plans']['equal_slots_percent']:.1f}%" if "plans" in cell else "" for cell in cells)
        lines.append(f"{'  slots':<10}" + "".join(f"{slot:>11}" for slot in slots))
        points = (f"{cell['success']['difference_points']:+.1f}" for cell in cells)
        lines.append(f"{'  points':<10}" + "".join(f"{point:>11}" for point in points))
    return lines


def _goals(recipes: dict[str, Any]) -> list[str]:
    return [
        f"{name:<10}{goal['goal']:<26}at least {goal['least']:>6.1f}, reached {goal['reached']:>6.1f}: "
        + ("met" if goal["met"] else "MISSED")
        for name, row in recipes.items()
        for goal in row["goals"]
    ]


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["measured"]["recipes"]))
