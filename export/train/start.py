"""Where a run's weights come from: a DIM checkpoint, a text-to-image one that is widened for edits, or SANA itself.

Each is a `Source`: configuration and one tensor at a time, so that the frozen parts are never all in memory.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn

from dimrt.errors import CheckpointError, InputError
from dimrt.export.hub import resolve
from dimrt.export.model.assembly import empty_dim, make_connector, meta_shapes
from dimrt.export.model.checkpoint import Checkpoint, read_parts
from dimrt.export.model.config import PainterConfig
from dimrt.export.model.names import EMBEDDING, TIED, from_autoencoder, from_designer
from dimrt.export.model.names import source as origin_of
from dimrt.export.model.painter import Painter
from dimrt.export.model.published import AUTOENCODER_ID, DESIGNER_ID, published_config
from dimrt.export.model.source import Source
from dimrt.export.model.weights import OpenFiles, Stored, find_weights

EMBEDDER = "painter.transformer.patch_embed.proj.weight"
TRANSFORMER = "painter.transformer."
PART_FILE = "diffusion_pytorch_model"
NANO = Path(__file__).parents[1] / "nano" / "checkpoint"
Stage = Literal["text-to-image", "edit"]
TASKS: dict[Stage, Literal["generate", "edit"]] = {"text-to-image": "generate", "edit": "edit"}


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The weights a run begins with. `checkpoint` is a DIM folder or hub id, "nano", or SANA 1.5 in diffusers format,
    from which the text-to-image stage starts with a fresh connector and null condition.

    `designer` and `autoencoder` name the frozen parts where the checkpoint has none. `name` is the result's name.
    """

    checkpoint: str | None = None
    designer: str | None = None
    autoencoder: str | None = None
    name: Annotated[str, Meta(min_length=1)] | None = None


class Widened:
    """A text-to-image model as the start of an edit model: the patch embedder takes the source latent beside the noisy
    one. The new channels begin at zero, so that at first the source changes nothing.
    """

    def __init__(self, source: Source) -> None:
        self._source, self.random_seed, self.parts = source, source.random_seed, source.parts
        self.config = replace(source.config, painter=replace(source.config.painter, task="edit"))

    @property
    def fingerprint(self) -> str:
        """The narrow model's, and that it was widened."""
        return f"{self._source.fingerprint}/widened"

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`."""
        tensor = self._source.read(name)
        return torch.cat([tensor, torch.zeros_like(tensor)], dim=1) if name == EMBEDDER else tensor


class SanaStart:
    """DIM before its first step: SANA's transformer, the designer and the autoencoder as published; connector and null
    condition fresh. The null condition's rows are normal numbers over the root of their width, as in SANA.
    """

    random_seed = None

    def __init__(self, sana: Path, designer: Path, autoencoder: Path, seed: int) -> None:
        self.config = published_config("generate")
        self.parts = read_parts(designer, autoencoder)
        self._files, self._sana, self.seed = OpenFiles(), sana, seed
        self._transformer = _found(sana / "transformer", PART_FILE)
        self._frozen = {from_designer(name): held for name, held in _found(designer, "model").items()}
        self._frozen |= {from_autoencoder(name): held for name, held in _found(autoencoder, PART_FILE).items()}
        self._fresh = _fresh(self.parts.designer.text_config.hidden_size, self.config.painter, seed)
        self._check()

    @property
    def fingerprint(self) -> str:
        """The folder and the seed."""
        return f"{self._sana.resolve()}/{self.seed}"

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`, in stored type."""
        if name in self._fresh:
            return self._fresh[name]
        if name.startswith(TRANSFORMER):
            return self._files.read(self._transformer[name.removeprefix(TRANSFORMER)])
        published = origin_of(name).name
        tied = published == TIED and self.parts.designer.tie_word_embeddings
        return self._files.read(self._frozen[EMBEDDING if tied else published])

    def _check(self) -> None:
        """Every transformer tensor must be there in DIM's shape."""
        painter = empty_dim(self.config, self.parts).painter
        wanted = {name: tuple(value.shape) for name, value in painter.transformer.named_parameters()}
        for name, shape in wanted.items():
            held = self._transformer.get(name)
            if held is None or held.shape != shape:
                what = "missing" if held is None else f"of shape {list(held.shape)}"
                raise CheckpointError(
                    f"{self._sana}: {name} is {what}, expected {list(shape)}; name SANA 1.5 1.6B in diffusers format "
                    "as model.checkpoint"
                )


def open_start(settings: ModelSettings, stage: Stage, seed: int, offline: bool = False) -> Source:
    """The weights a run of this stage begins with.

    Raises:
        InputError: no start is named, or it is of the wrong stage.
        CheckpointError: files are missing or don't fit.
    """
    if settings.checkpoint is None:
        raise InputError("model.checkpoint is missing: name the weights to begin with (--checkpoint)")
    place = NANO if settings.checkpoint == "nano" else resolve(settings.checkpoint, offline=offline)
    if (place / "transformer" / "config.json").is_file():
        if stage == "edit":
            raise InputError(
                f"model.checkpoint {settings.checkpoint}: SANA starts the text-to-image stage; an edit stage starts "
                "from a DIM checkpoint"
            )
        designer = resolve(settings.designer or DESIGNER_ID, offline=offline)
        return SanaStart(place, designer, resolve(settings.autoencoder or AUTOENCODER_ID, offline=offline), seed)
    checkpoint = Checkpoint.open(place, designer=settings.designer, autoencoder=settings.autoencoder, offline=offline)
    held = checkpoint.config.painter.task
    if stage == "edit" and held == "generate":
        return Widened(checkpoint)
    if held != TASKS[stage]:
        raise InputError(f'model.checkpoint {settings.checkpoint}: an edit model can\'t start stage "{stage}"')
    return checkpoint


def load_trainable(source: Source) -> tuple[Painter, nn.Sequential]:
    """Painter and connector of a source in float32, ready to be trained."""
    dim = empty_dim(source.config, source.parts)
    for part in ("painter", "connector"):
        module = getattr(dim, part)
        state = {
            name: source.read(f"{part}.{name}").to(torch.float32, copy=True) for name, _ in module.named_parameters()
        }
        module.load_state_dict(state, strict=False, assign=True)
    return dim.painter.train(), dim.connector.train()


def trainable_size(source: Source) -> int:
    """How many numbers painter and connector have."""
    shapes = meta_shapes(source.config, source.parts)
    sizes = (torch.Size(shape).numel() for name, shape in shapes.items() if name.startswith(("decoder.model.", "proj")))
    return sum(sizes)


def _fresh(hidden: int, painter: PainterConfig, seed: int) -> dict[str, Tensor]:
    """Connector and null condition before training."""
    caption, rows = painter.caption_channels, painter.max_condition
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        connector = make_connector(hidden, caption).state_dict()
        null = torch.randn(rows, caption) / caption**0.5
    return {f"connector.{name}": value for name, value in connector.items()} | {"painter.null_condition": null}


def _found(folder: Path, stem: str) -> dict[str, Stored]:
    found = find_weights(folder, stem)
    if found is None:
        raise CheckpointError(f"{folder}: no {stem}.safetensors; name a folder that holds these weights")
    return found
