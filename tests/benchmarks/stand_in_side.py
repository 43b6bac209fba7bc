"""A stand-in for a peer: answers the driver's protocol as its task says, without any runtime."""

import os
import sys
import time
from pathlib import Path

import numpy as np
from peers.protocol import Json, serve


class StandIn:
    """Says fixed seconds; fails, dies, hangs or chatters when told to."""

    def __init__(self, task: Json) -> None:
        if task.get("refuses"):
            raise ValueError(task["refuses"])
        print("a library talks on standard output")
        os.write(1, b"and so does its C code\n")
        self._task, self._runs = task, 0
        self.facts = {"threads": task["threads"]}

    def run(self) -> Json:
        """One result; the order of all sides' runs is written to a common file."""
        self._runs += 1
        with Path(self._task["order"]).open("a", encoding="utf-8") as file:
            file.write(self._task["name"])
        if self._runs == self._task.get("dies_in"):
            print("out of luck", file=sys.stderr)
            os._exit(3)
        if self._runs == self._task.get("hangs_in"):
            time.sleep(60)
        return {"seconds": {"run": self._task["seconds"]}, "tokens": [1, 2, self._runs], "shape": [2], "sum": 0.0}

    def keep(self, path: Path) -> None:
        """A tensor."""
        np.save(path, np.array(self._task["tensor"], np.float32))


if __name__ == "__main__":
    serve(StandIn)
