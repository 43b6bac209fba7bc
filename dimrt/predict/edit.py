"""The time of one edit, phase by phase, on a device: which graphs run, how often and at which sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from dimrt.bundle import Bundle
from dimrt.errors import BundleError
from dimrt.language import CACHE_STEP
from dimrt.manifest import Manifest
from dimrt.memory.setting import TEXT_TOKENS, Setting, axes
from dimrt.predict.efficiency import Efficiency, efficiency_of
from dimrt.predict.rates import Rates
from dimrt.predict.roofline import Time, run_time
from dimrt.predict.turns import AROUND_PICTURE, count_turns
from dimrt.tiles import Grid
from dimrt.work import graph_work

DESIGNER = ("vision", "plan", "condition")
"""Phases that the designer works in."""
USUAL_PLAN = 256
"""Tokens of a plan that times are said for: the published examples have 200 to 400. Memory is said for the longest."""


@dataclass(frozen=True)
class Run:
    """Runs of one graph at one size: their phase, how many there are, whether the next edit of the photo uses them."""

    phase: str
    graph: str
    axes: Mapping[str, int]
    count: float = 1
    kept: bool = False


@dataclass(frozen=True)
class Phase:
    """Time of one phase, and of every graph that runs in it."""

    name: str
    runs: float
    time: Time
    graphs: Mapping[str, Time]


@dataclass(frozen=True)
class Prediction:
    """Of one edit of one photo that was not edited before; reading and writing the photo's file are not in it.

    Attributes:
        device: its name.
        recipe: of the bundle.
        steps, plan_tokens, tokens_per_run: what was asked for.
        phases: in order.
        error: factor that the time may be off by, either way.
        efficiency: what share of the device's rates is reached.
        assumed: number formats of the bundle for which that share is assumed.
        kept: seconds of what the next edit of the same photo does not do again.
    """

    device: str
    recipe: str
    steps: int
    plan_tokens: int
    tokens_per_run: float
    phases: tuple[Phase, ...]
    error: float
    efficiency: Efficiency
    assumed: frozenset[str]
    kept: float

    @property
    def seconds(self) -> float:
        """The whole edit."""
        return sum(phase.time.seconds for phase in self.phases)

    @property
    def again(self) -> float:
        """Seconds of the next edit of the same photo."""
        return self.seconds - self.kept

    @property
    def by_role(self) -> tuple[float, float]:
        """Seconds of the designer, and of the painter with its autoencoder."""
        designer = sum(phase.time.seconds for phase in self.phases if phase.name in DESIGNER)
        return designer, self.seconds - designer

    @property
    def least(self) -> float:
        """The whole edit if the prediction is as far off as it was of any figure but one in ten."""
        return self.seconds / self.error

    @property
    def most(self) -> float:
        """The same, the other way."""
        return self.seconds * self.error


def predict(
    bundle: Bundle, rates: Rates, setting: Setting, *, steps: int | None = None, tokens_per_run: float = 1.0
) -> Prediction:
    """The time of an edit.

    Args:
        bundle: nothing of it is read but its manifest.
        rates: of the device.
        setting: as for memory (`dimrt.memory.count.Estimate.setting`).
        steps: of the painter; default the bundle's.
        tokens_per_run: tokens of the plan that a run of `language` confirms, 1 without guesses.

    Raises:
        BundleError: the bundle was exported before work was recorded.
        InputError: the device has no rate for a number format of the bundle.
    """
    if any(graph.work is None for graph in bundle.manifest.graphs.values()):
        raise BundleError(
            f"{bundle.path} was exported before the work of its graphs was recorded; export it again with this dimrt"
        )
    steps = steps or bundle.manifest.schedule.steps
    efficiency = efficiency_of(rates)
    phases: dict[str, dict[str, Time]] = {}
    counts: dict[str, float] = {}
    formats: set[str] = set()
    kept = 0.0
    for run in edit_runs(bundle, setting, steps, tokens_per_run):
        work = graph_work(bundle, run.graph, run.axes)
        assert work is not None
        formats |= work.operations.keys()
        graphs = phases.setdefault(run.phase, {})
        time = run_time(work, rates, efficiency) * run.count
        graphs[run.graph] = graphs.get(run.graph, Time()) + time
        kept += time.seconds if run.kept else 0.0
        counts[run.phase] = counts.get(run.phase, 0) + run.count
    found = tuple(Phase(name, counts[name], sum(graphs.values(), Time()), graphs) for name, graphs in phases.items())
    error = efficiency.error_of(formats)
    recipe, plan, guessed = (
        bundle.manifest.recipe,
        plan_length(bundle.manifest, setting),
        efficiency.assumed_of(formats),
    )
    return Prediction(rates.name, recipe, steps, plan, tokens_per_run, found, error, efficiency, guessed, kept)


def edit_runs(bundle: Bundle, setting: Setting, steps: int, tokens_per_run: float) -> list[Run]:
    """All runs of an edit, in order, under the names of its phases (`dimrt.chain`).

    The prefix that both turns share is read once, in the first that needs it. A cache that grows is counted at the
    length it has on the way. What runs beside the plan on a GPU with room for both roles (`dimrt.editing`) is counted
    as if it ran by itself: nobody has measured what is hidden there.
    """
    manifest = bundle.manifest
    at = axes(manifest, setting)
    edits = "encode" in manifest.graphs
    turns = count_turns(bundle, at["vision"]["tokens"])
    written = plan_length(manifest, setting)
    asked, text = turns.shared + turns.request, written or turns.instruction
    rows = min(at["vision"]["tokens"] + AROUND_PICTURE + text, manifest.painter.max_condition)
    piece = at["language"]["tokens"]
    runs = [Run("vision", "vision", at["vision"], kept=True)] if edits else []

    def read(phase: str, first: int, last: int, kept: bool = False) -> None:
        """Tokens `first` up to `last` into the cache, in pieces."""
        for start in range(first, last, piece):
            runs.append(Run(phase, "language", _language(setting, min(piece, last - start), last), kept=kept))

    read("plan" if written else "condition", 0, turns.shared, kept=True)
    if written:
        read("plan", turns.shared, asked)
        passes = max(written / tokens_per_run - 1, 0)  # the first token comes with the request
        at_once = max(round(tokens_per_run), 1)
        decode = _language(setting, at_once, asked + written // 2)
        runs.append(Run("plan", "language", {**decode, "rows": at_once}, passes))
    read("condition", turns.shared, turns.shared + text)
    runs.append(Run("condition", "connector", {"rows": rows}))
    tiles = _tiles(manifest, setting, at["decode"])
    if edits:
        runs.append(Run("encode", "encode", at["encode"], tiles, kept=True))
    runs.append(Run("paint", "context", {**at["context"], "rows": rows}))
    runs.append(Run("paint", "step", {**at["step"], "rows": rows}, steps))
    runs.append(Run("decode", "decode", at["decode"], tiles))
    if edits:
        runs.append(Run("composite", "decode", at["decode"], tiles, kept=True))  # the photo's, to compare
    return runs


def _tiles(manifest: Manifest, setting: Setting, tile: Mapping[str, int]) -> int:
    """How many tiles the autoencoder takes the picture in; sizes of a tile in cells."""
    width, height = (side // manifest.resolution.latent_factor for side in setting.size)
    return sum(1 for _ in Grid((height, width), (tile["height"], tile["width"])))


def plan_length(manifest: Manifest, setting: Setting) -> int:
    """Tokens of the plan: as asked, and no more than the model writes or has room for."""
    designer = manifest.designer
    asked = axes(manifest, setting)["vision"]["tokens"] + TEXT_TOKENS
    return min(setting.plan_tokens, designer.decoding.max_new_tokens, designer.language.max_positions - asked)


def _language(setting: Setting, tokens: int, filled: int) -> dict[str, int]:
    """Sizes of a run of `language`; without a fixed cache its length is what the turn needs."""
    length = setting.length or ceil(filled / CACHE_STEP) * CACHE_STEP
    return {"tokens": tokens, "rows": 1, "length": length}
