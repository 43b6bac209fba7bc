"""What is known of the activations that enter each quantizable product: ranges, means and some sampled rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dimrt.errors import InputError
from dimrt.files import atomic_write

Array = NDArray[np.float32]
KEPT_ROWS = 1024
"""Sampled rows kept of each input."""
ASSUMED_LARGEST = 5.0
"""Largest of a few hundred thousand normal numbers."""
_FIELDS = ("largest", "mean", "rows")


@dataclass
class InputStatistics:
    """The input [..., in] of one or more products, over everything that was run.

    Attributes:
        largest: [in], largest |x| of each channel.
        mean: [in], mean |x| of each channel.
        rows: [R, in], sampled rows, R at most `KEPT_ROWS`; none when the activations are only assumed.
        count: rows that `mean` is over.
    """

    largest: Array
    mean: Array
    rows: Array
    count: int
    _seen: int = 0

    @classmethod
    def empty(cls, width: int) -> "InputStatistics":
        """Nothing seen yet."""
        return cls(np.zeros(width, np.float32), np.zeros(width, np.float32), np.empty((0, width), np.float32), 0)

    def add(self, largest: Array, mean: Array, rows: Array, count: int) -> None:
        """Take in one run: its ranges, its means over `count` rows, and rows sampled from it.

        Of all rows offered, each has the same chance to be kept (reservoir sampling with a fixed seed), so the result
        depends on nothing but the order of the runs.
        """
        self.largest = np.maximum(self.largest, largest)
        total = self.count + count
        self.mean = (self.mean + (mean - self.mean) * (count / total)).astype(np.float32)
        self.count = total
        free = KEPT_ROWS - len(self.rows)
        self._seen += min(free, len(rows))
        self.rows = np.concatenate([self.rows, rows[:free]])
        for row in rows[free:]:
            self._seen += 1
            place = int(np.random.default_rng((self._seen, len(row))).integers(self._seen))
            if place < KEPT_ROWS:
                self.rows[place] = row


@dataclass
class Statistics:
    """Per graph and weight name, the statistics of the product's input. Weights that share an input share the entry.

    Attributes:
        graphs: graph -> weight name -> its input.
        source: what was run, for the manifest.
    """

    graphs: dict[str, dict[str, InputStatistics]] = field(default_factory=dict)
    source: str = ""

    def of(self, graph: str, weight: str) -> InputStatistics:
        """The input of one product.

        Raises:
            InputError: nothing was measured there.
        """
        found = self.graphs.get(graph, {}).get(weight)
        if found is None:
            raise InputError(f"the calibration says nothing of {weight} in graph {graph}; calibrate with this model")
        return found

    def save(self, path: Path) -> None:
        """Write a safetensors file; shared entries are written once."""
        tensors: dict[str, Array] = {}
        entries: dict[str, dict[str, object]] = {}
        first: dict[int, str] = {}
        for graph, inputs in self.graphs.items():
            for weight, entry in inputs.items():
                key = f"{graph}/{weight}"
                held = first.setdefault(id(entry), key)
                entries[key] = {"as": held, "count": entry.count}
                if held == key:
                    tensors |= {f"{key}/{name}": np.ascontiguousarray(getattr(entry, name)) for name in _FIELDS}
        with atomic_write(path) as file:
            file.write(save(tensors, {"source": self.source, "entries": json.dumps(entries)}))

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read what `save` wrote.

        Raises:
            InputError: the file is something else.
        """
        made, shared = cls(), dict[str, InputStatistics]()
        try:
            with safe_open(path, "numpy") as held:
                facts = held.metadata()
                made.source = facts["source"]
                for key, entry in json.loads(facts["entries"]).items():
                    graph, weight = key.split("/", 1)
                    name = entry["as"]
                    if name not in shared:
                        parts = [held.get_tensor(f"{name}/{part}") for part in _FIELDS]
                        shared[name] = InputStatistics(*parts, count=entry["count"])
                    made.graphs.setdefault(graph, {})[weight] = shared[name]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no calibration statistics ({error}); run the calibration again") from error
        return made


def assumed_statistics(widths: Mapping[str, Mapping[str, int]]) -> Statistics:
    """Ranges of unit-normal activations, for weights that are random numbers: their values mean nothing anyway.

    Args:
        widths: graph -> weight name -> number of input channels.
    """
    made = Statistics(source="no calibration: unit-normal activations assumed, for random weights")
    for graph, weights in widths.items():
        made.graphs[graph] = {}
        for name, width in weights.items():
            largest, mean = np.full(width, ASSUMED_LARGEST, np.float32), np.full(width, 0.8, np.float32)
            made.graphs[graph][name] = InputStatistics(largest, mean, np.empty((0, width), np.float32), 1)
    return made
