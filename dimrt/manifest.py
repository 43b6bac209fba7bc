"""Types of `manifest.json`: the model facts of a bundle, frozen. Request options live in `dimrt.options`.

Everything special about a model (sizes, prompts, schedule) is stated here or computed in its graphs, so that the
runtime has one code path for every bundle.
"""

from typing import Literal

import msgspec

FORMAT_VERSION = 1
GRAPHS = ("vision", "language", "connector", "context", "step", "encode", "decode")
"""The graphs of an edit bundle. A generate bundle has no `encode`."""
FULL = "full"
"""The style of plan that every bundle knows: all five sections."""


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every record: immutable, closed."""


class FileRecord(Frozen, frozen=True):
    """Size in bytes and sha256 (hex) of one file of the bundle."""

    size: int
    sha256: str


class TensorSpec(Frozen, frozen=True):
    """One graph input or output. A dimension is a number, or a name when it varies from call to call."""

    name: str
    dtype: Literal["float32", "float16", "int64"]
    shape: tuple[int | str, ...]


class Measured(Frozen, frozen=True):
    """Error of one exported graph against torch in float32: worst case over `cases` comparisons.

    `max_abs` is the largest absolute difference, `relative` is the norm of the difference over the norm of the
    reference; `limit` is the bound on `relative` that the export enforced. `layers` is set when a large model was
    compared on a copy that has only its first so many layers.
    """

    max_abs: float
    relative: float
    limit: float
    cases: int
    layers: int | None = None


class GraphWork(Frozen, frozen=True):
    """What one run has to do, as polynomials in the graph's named dimensions (as `Graph.activations`).

    `operations` of products by the number format they are computed in ("float32", "float16", "int8", "fp8"), a
    multiply-add counting two; `intermediate`: bytes of all tensors between nodes, each counted once.
    """

    operations: dict[str, dict[str, float]]
    intermediate: dict[str, float]


class Graph(Frozen, frozen=True):
    """One ONNX file (path relative to the bundle), its I/O contract, its measured error and its work.

    `activations` are polynomials in the named dimensions, in bytes: the largest of them bounds what the graph's
    intermediate tensors take at once. Each maps a product of names ("tokens*length", "" for a constant) to a factor.
    """

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    error: Measured
    activations: tuple[dict[str, float], ...] = ()
    work: GraphWork | None = None


class Vision(Frozen, frozen=True):
    """Qwen2.5-VL picture route (route B): sizes in pixels unless said otherwise."""

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    window_size: int
    head_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    min_pixels: int
    max_pixels: int
    condition_side: int
    """Both sides handed to the rounding rule for the condition picture (1024 in DIM, giving 1036 x 1036)."""


class Language(Frozen, frozen=True):
    """Qwen2.5-VL text decoder facts that the host needs."""

    hidden_size: int
    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    rope_theta: float
    mrope_section: tuple[int, int, int]
    max_positions: int


class Tokens(Frozen, frozen=True):
    """Ids of the special tokens."""

    im_start: int
    im_end: int
    vision_start: int
    vision_end: int
    image_pad: int
    stop: tuple[int, ...]


class PlanStyle(Frozen, frozen=True):
    """Another style of plan ("brief": only the sections that the painter needs) and the request that asks for it."""

    name: str
    request: str


class Prompt(Frozen, frozen=True):
    """Texts around the instruction. `request` holds `{instruction}` once and asks for the full plan."""

    system: str
    request: str
    styles: tuple[PlanStyle, ...] = ()

    @property
    def requests(self) -> dict[str, str]:
        """Name of each style of plan that the model writes, and the request that asks for it; "full" comes first."""
        return {FULL: self.request} | {style.name: style.request for style in self.styles}


class Decoding(Frozen, frozen=True):
    """Greedy decoding of the plan."""

    max_new_tokens: int
    repetition_penalty: float


class Designer(Frozen, frozen=True):
    """The designer role."""

    vision: Vision
    language: Language
    tokens: Tokens
    prompt: Prompt
    decoding: Decoding


class Painter(Frozen, frozen=True):
    """The painter role. `max_condition` is the most condition rows it attends to (8192 in DIM; the last are kept)."""

    task: Literal["edit", "generate"]
    latent_channels: int
    condition_channels: int
    max_condition: int
    layers: int
    heads: int
    head_dim: int


class Resolution(Frozen, frozen=True):
    """Sizes the painter works at, in pixels.

    `side` squared is the area; both sides are multiples of `multiple` (the autoencoder's factor times the painter's
    patch). `aspect` is "free" when the painter takes any height and width, "square" when only `side` x `side`.
    """

    side: int
    multiple: int
    latent_factor: int
    aspect: Literal["free", "square"]


class Distilled(Frozen, frozen=True):
    """How a painter that was distilled from another is sampled. It needs no guidance: its teacher's is in its weights.

    `timesteps` has one row a supported number of steps: what the painter is told, falling, each exactly 1000 times the
    noise level. No rows: any number of steps of the flow's own solver. `noise` says what becomes of the noise between
    two steps: "fresh" draws new noise (consistency models), "kept" goes on with the one that the latent still holds
    (phased ones). `teacher_steps` and `guidance_scale` are what the teacher ran with.
    """

    timesteps: tuple[tuple[int, ...], ...]
    noise: Literal["fresh", "kept"]
    teacher_steps: int
    guidance_scale: float

    def __post_init__(self) -> None:
        """Refuse rows that no flow can follow."""
        for row in self.timesteps:
            if not row or list(row) != sorted(set(row), reverse=True) or not 0 < row[-1] <= row[0] <= 1000:
                raise ValueError(f"timesteps {list(row)} must fall, and lie in 1 to 1000")
        if len({len(row) for row in self.timesteps}) != len(self.timesteps):
            raise ValueError("two rows of timesteps are of one length")


class Schedule(Frozen, frozen=True):
    """Flow matching with DPM-Solver++ 2M; `steps` and `guidance_scale` are the model's own defaults.

    `distilled` is set for a student: its defaults are its own (few steps, guidance 1), and the flow's solver, its
    teacher's schedule, runs when it is asked for.
    """

    steps: int
    guidance_scale: float
    shift: float
    seed: int
    distilled: Distilled | None = None

    def __post_init__(self) -> None:
        """Refuse defaults that the student itself doesn't support."""
        few = self.distilled
        if few is not None and (
            self.guidance_scale != 1 or (few.timesteps and self.steps not in map(len, few.timesteps))
        ):
            raise ValueError(
                "a distilled painter's own defaults are guidance_scale 1 and a number of steps it supports"
            )


class Provenance(Frozen, frozen=True):
    """Where the weights came from and what made the bundle.

    `calibration` says what a quantized bundle's ranges were measured on; `random_seed` is set when the weights are
    random numbers of the real sizes.
    """

    checkpoint: str
    tool: str
    versions: dict[str, str]
    calibration: str | None = None
    random_seed: int | None = None


class Manifest(Frozen, frozen=True):
    """The whole of `manifest.json`."""

    format: int
    name: str
    recipe: str
    designer: Designer
    painter: Painter
    resolution: Resolution
    schedule: Schedule
    graphs: dict[str, Graph]
    licence: str
    provenance: Provenance
    files: dict[str, FileRecord]
