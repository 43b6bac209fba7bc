"""What a run writes down as it goes: one JSON line and one TensorBoard point for each figure."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from dimrt.files import atomic_write


class Means:
    """Means of named figures over some steps. A figure may be absent from a step."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, figures: Mapping[str, float | Tensor]) -> None:
        """Take in the figures of one part of one step."""
        for name, value in figures.items():
            total, count = self.sums.get(name, (0.0, 0))
            value = float(value.detach()) if isinstance(value, Tensor) else value
            self.sums[name] = (total + value, count + 1)

    def merge(self, others: list[dict[str, tuple[float, int]]]) -> dict[str, float]:
        """Means over the sums of several processes, by name in the order they came up."""
        whole: dict[str, tuple[float, int]] = {}
        for sums in others:
            for name, (total, count) in sums.items():
                before = whole.get(name, (0.0, 0))
                whole[name] = (before[0] + total, before[1] + count)
        return {name: total / count for name, (total, count) in whole.items()}


class Record:
    """The log of a run: `log.jsonl` and `tensorboard/` in its folder. Lines after step `after` are taken back."""

    def __init__(self, folder: Path, after: int) -> None:
        self.path = folder / "log.jsonl"
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= after]
            with atomic_write(self.path) as file:
                file.write("".join(kept).encode())
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of the steps up to `step`."""
        line = {"step": step} | {name: float(f"{value:.6g}") for name, value in figures.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds back."""
        self.board.close()
