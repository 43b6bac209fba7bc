"""The state of a run on disk: everything that its next step depends on, written atomically, the last few kept.

`state/step-00000500/` holds `process-00000.pt`; where FSDP splits the parameters, every process writes its own share.
Batches and noise depend on the step alone, so no position in the data and no random state is stored.
"""

import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dimrt.errors import CheckpointError, InputError
from dimrt.files import atomic_write, publish_folder

UNREADABLE = (
    *(OSError, RuntimeError, EOFError, pickle.UnpicklingError),
    *(KeyError, IndexError, TypeError, ValueError, AttributeError),
)
"""What torch raises for a file that is no pickle of tensors, or a torn one."""
_STEP = re.compile(r"step-(\d{8,})")


class States:
    """The stored states of one run.

    Args:
        folder: of the run; states stand in `folder`/state, which must be common to all processes.
        keep: how many are kept.
        rank: number of this process. Process 0 alone writes unless `shares` says that each holds a part.
        shares: how many processes hold a part of the parameters; 1 when they are whole.
        meet: waits until every process has come as far.
    """

    def __init__(self, folder: Path, keep: int, rank: int = 0, shares: int = 1, meet: Callable[[], None] | None = None):
        self.folder, self.keep = folder / "state", keep
        self.rank, self.shares = rank, shares
        self.meet = meet or (lambda: None)

    def steps(self) -> list[int]:
        """Steps of the complete states, rising."""
        found = [_STEP.fullmatch(entry.name) for entry in self.folder.glob("step-*")]
        return sorted(int(match[1]) for match in found if match)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state after `step` steps, and remove what is older than the last `keep`. All processes call it."""
        partial = self.folder / f".step-{step:08}.partial"
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".*"):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir()
        self.meet()
        if self.rank < self.shares:
            with atomic_write(partial / f"process-{self.rank:05}.pt") as file:
                torch.save({"step": step, "shares": self.shares, **state}, file)
        self.meet()
        if self.rank == 0:
            publish_folder(partial, self._place(step), replace=True, aside=self.folder / f".step-{step:08}.old")
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self._place(old), ignore_errors=True)
        self.meet()

    def load(self) -> dict[str, Any] | None:
        """The last state, with tensors on the CPU; None when there is none.

        Raises:
            InputError: it was written by another number of processes that each hold a part.
            CheckpointError: it can't be read.
        """
        steps = self.steps()
        if not steps:
            return None
        place = self._place(steps[-1])
        path = place / f"process-{self.rank if self.shares > 1 else 0:05}.pt"
        written = len(list(place.glob("process-*.pt")))
        if written != self.shares:
            raise InputError(
                f"{place}: written by {written} process(es) that each hold a part of the parameters, and now there are "
                f"{self.shares}; resume with as many as before"
            )
        try:
            return dict(torch.load(path, weights_only=True, map_location="cpu"))
        except UNREADABLE as error:
            raise CheckpointError(
                f"{path}: can't be read ({error}); remove the folder {place.name} to resume from the state before"
            ) from error

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step:08}"


def put_back(values: Mapping[str, Tensor], held: Mapping[str, Tensor], place: Path) -> None:
    """Copy stored tensors `held` into the tensors `values` of the same names, in place.

    Raises:
        InputError: names or shapes differ, so `place` belongs to another run.
    """
    differing = sorted(values.keys() ^ held.keys())
    differing += [name for name in values.keys() & held.keys() if values[name].shape != held[name].shape]
    if differing:
        raise InputError(
            f"{place}: holds the state of another model ({len(differing)} tensors differ, such as {differing[0]}); "
            "choose another folder, or remove its state/ to begin anew"
        )
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(held[name])


def load_averages(folder: Path) -> dict[str, Tensor]:
    """Averaged parameters of the first player in a run folder's last state, by their names in the objective; also of a
    folder with the single-file state of earlier versions.

    Raises:
        InputError: there is no state.
        CheckpointError: it can't be read.
    """
    state = States(folder, keep=1).load()
    if state is None and (folder / "state.pt").is_file():
        state = _read_single(folder / "state.pt")
    if state is None:
        raise InputError(f"{folder}: holds no training state; name the folder of a run")
    return dict(state["average"] or state["parameters"])


def import_state(old: Path, folder: Path, player: str = "painter") -> int:
    """Turn the single-file state of earlier versions ({step, module, optimizer, average}) into a run folder's state.

    The parameter names must be those of the objective that goes on with it. Returns the step it was at.

    Raises:
        CheckpointError: the file isn't such a state.
    """
    state = _read_single(old)
    step = int(state.pop("step"))
    States(folder, keep=1).save(step, state | {"optimizers": {player: state["optimizers"]}})
    return step


def _read_single(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        average = dict(state["average"])
        parameters = {name: state["module"][name] for name in average}
        return {
            "step": int(state["step"]),
            "parameters": parameters,
            "optimizers": state["optimizer"],
            "average": average,
        }
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: not a training state of step, module, optimizer and average: {error}"
        ) from error
