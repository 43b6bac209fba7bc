"""Edits that `dimrt bench` measured, to hold a prediction against: what was asked for, and how long each phase took."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from dimrt.bundle import Bundle
from dimrt.memory.setting import Setting
from dimrt.predict.edit import Prediction, predict
from dimrt.predict.rates import Rates

MOSTLY_OUTSIDE = ("composite",)
"""Phases whose time is mostly spent outside of graphs, which alone are predicted."""


@dataclass(frozen=True)
class MeasuredEdit:
    """First edits of photos on one machine.

    Attributes:
        digest: of the bundle.
        steps, guided, plan_tokens, tokens_per_run: what was done.
        phases: seconds, the median of each. What a phase takes outside its graphs (preparing pictures, choosing tokens)
            is in them.
    """

    digest: str
    steps: int
    guided: bool
    plan_tokens: int
    tokens_per_run: float
    phases: Mapping[str, float]


def measured_edit(document: Mapping[str, Any]) -> MeasuredEdit | None:
    """The edits of a document of `dimrt bench`; None where it holds none."""
    try:
        settings, decode = document["settings"], document["decode"]
        return MeasuredEdit(
            digest=str(document["bundle"]["digest"]),
            steps=int(settings["steps"]),
            guided=float(settings["guidance_scale"]) != 1,
            plan_tokens=round(median(decode["tokens"])),
            tokens_per_run=float(decode["tokens_per_pass"]),
            phases={name: median(samples) for name, samples in document["edit"]["phases"].items() if samples},
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Held:
    """A prediction held against what was measured: seconds of the phases that both have, and of all of them."""

    phases: Mapping[str, tuple[float, float]]

    @property
    def seconds(self) -> tuple[float, float]:
        """Predicted and measured."""
        predicted, measured = zip(*self.phases.values(), strict=True)
        return sum(predicted), sum(measured)

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        predicted, measured = self.seconds
        return predicted / measured


def hold(prediction: Prediction, edit: MeasuredEdit) -> Held | None:
    """Predicted and measured seconds, phase by phase; None where no phase is in both that runs graphs above all."""
    both = {
        phase.name: (phase.time.seconds, edit.phases[phase.name])
        for phase in prediction.phases
        if phase.name in edit.phases and phase.name not in MOSTLY_OUTSIDE
    }
    return Held(both) if both else None


def predict_measured(bundle: Bundle, rates: Rates, edit: MeasuredEdit) -> Prediction:
    """The edits that were measured, predicted."""
    side = bundle.manifest.resolution.side
    setting = Setting((side, side), edit.plan_tokens, edit.guided)
    return predict(bundle, rates, setting, steps=edit.steps, tokens_per_run=edit.tokens_per_run)
