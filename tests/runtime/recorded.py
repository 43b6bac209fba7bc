"""The recorded runs of the original, in the runtime's own terms."""

import json

import numpy as np
from numpy.typing import NDArray

from dimrt.bundle import Bundle
from dimrt.designer import Designer, View
from dimrt.prompt import Turn, turn_from_ids
from dimrt.vision import prepare

Arrays = dict[str, NDArray[np.generic]]


class Cases:
    """The fixture cases as the runtime's own views and turns."""

    def __init__(self, bundle: Bundle, arrays: Arrays) -> None:
        self._facts = bundle.manifest.designer
        self._ids = json.loads(str(arrays["ids"]))
        self._arrays = arrays

    def turn(self, ids: NDArray[np.int64]) -> Turn:
        """The condition turn of recorded ids."""
        return turn_from_ids(ids, self._facts.tokens, self._ids["user"], self._ids["newline"])

    def whole_turn(self, case: str) -> Turn:
        """All recorded ids of a designer case, as a plan turn."""
        ids = self._arrays[f"{case}.input_ids"][0]
        turn = self.turn(ids)
        return Turn(ids=ids, shared=turn.shared, condition=turn.condition)

    def view(self, designer: Designer, case: str) -> View | None:
        """The case's picture, at its own size."""
        pixels = self._arrays.get(f"{case}.image_uint8")
        if pixels is None:
            return None
        return designer.view(prepare(pixels, self._facts.vision, (pixels.shape[1], pixels.shape[0])))
