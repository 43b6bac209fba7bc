"""A training run as a TOML file: everything that decides it, read strictly.

A file may name a `base`, a preset of this package or a file beside it: what it says itself counts over the base's,
table by table. The command line's `--set loop.steps=100` counts over both. A key that isn't known is an error that
names the file and the key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from dimrt.errors import InputError
from dimrt.export.train.data.spec import DataSpec, read_specs
from dimrt.export.train.distill.settings import DistillSettings
from dimrt.export.train.flow import FlowSettings
from dimrt.export.train.publish import Storage
from dimrt.export.train.samples import SampleSettings
from dimrt.export.train.settings import LoopSettings
from dimrt.export.train.start import ModelSettings, Stage
from dimrt.export.train.totoml import encode

FOLDER = Path(__file__).parent / "presets"
PRESETS = (
    "dim-4.6b-t2i",
    "dim-4.6b-edit-stage1",
    "dim-4.6b-edit",
    "nano-drawing",
    "nano",
    "nano-practice",
    "dim-4.6b-sprint",
    "nano-sprint",
)
"""The configurations of this package."""
COMMAND_LINE = Path("--set")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")
_FIELD = re.compile(r"(?:unknown|required) field `([^`]*)`")


class NanoSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The nano painter's lesson. `root` is the folder of `python -m dimrt.export.nano`, with its designer and
    autoencoder; paintings that aren't there yet are made first. `fresh` begins anew instead of from the lesson before.
    `emphasis` says of labels (an edit type, `colour`, `size`, `photo blur`, …) how often their cases are drawn against
    those of others, where it isn't as usual (`paintings.EMPHASIS`).
    """

    lesson: Literal["drawing", "editing"] = "editing"
    root: str | None = None
    fresh: bool = False
    emphasis: dict[str, Annotated[float, Meta(ge=0)]] = {}


class TrainConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A run: what is trained (`objective`, `stage`), from which weights (`model`), on what (`data`), how (`flow`,
    `loop`), and what it shows and leaves (`samples`, `storage` of the trained weights in checkpoints).
    """

    loop: LoopSettings
    description: str = ""
    objective: Literal["flow", "nano", "distill"] = "flow"
    stage: Stage = "edit"
    model: ModelSettings = field(default_factory=ModelSettings)
    flow: FlowSettings = field(default_factory=FlowSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)
    nano: NanoSettings = field(default_factory=NanoSettings)
    distill: DistillSettings = field(default_factory=DistillSettings)
    storage: Storage = "bf16"
    data: tuple[DataSpec, ...] = ()


@dataclass(frozen=True)
class Layer:
    """What one file, or the command line, says."""

    origin: Path
    values: dict[str, Any]


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset by name, or a configuration file, with overrides "key=value" (dotted key, TOML value or plain text).

    Paths in a file are relative to the file, those of overrides to the current folder.

    Raises:
        InputError: there is no such configuration, or something in it is wrong; the message names file and key.
    """
    layers = _with_bases(_find(name, Path()))[::-1]
    if overrides:
        layers.append(Layer(COMMAND_LINE, _parse_overrides(overrides)))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer.values)
    try:
        return msgspec.convert(merged, TrainConfig)
    except msgspec.ValidationError as error:
        raise InputError(_explained(str(error), layers)) from error


def with_data(config: TrainConfig, places: Sequence[str]) -> TrainConfig:
    """The same with other data: precomputed folders, or TOML files of `[[data]]` tables. Of a nano lesson, its root,
    which holds the paintings that nano's student learns from, too.

    Raises:
        InputError: a place isn't there, or its file is wrong.
    """
    if not places:
        return config
    nano = config.objective == "distill" and (Path(places[0]).expanduser() / "designer" / "qwen").is_dir()
    if config.objective == "nano" or nano:
        if len(places) > 1:
            raise InputError("--data: a nano lesson has one root folder")
        root = str(Path(places[0]).expanduser().resolve())
        return msgspec.structs.replace(config, nano=msgspec.structs.replace(config.nano, root=root))
    sets: list[DataSpec] = []
    for place in places:
        path = Path(place).expanduser()
        if path.is_dir():
            sets.append(DataSpec(kind="precomputed", path=str(path.resolve())))
        else:
            sets += read_specs(path)
    return msgspec.structs.replace(config, data=tuple(sets))


def encode_config(config: TrainConfig) -> bytes:
    """The same configuration as TOML, whole, for the record of a run."""
    return encode(msgspec.to_builtins(config))


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Dotted keys in which two configurations differ."""
    flat_one, flat_other = _flat("", msgspec.to_builtins(one)), _flat("", msgspec.to_builtins(other))
    return sorted(key for key in flat_one.keys() | flat_other.keys() if flat_one.get(key) != flat_other.get(key))


def _find(name: str | Path, beside: Path) -> Path:
    if str(name) in PRESETS:
        return FOLDER / f"{name}.toml"
    path = beside / Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"there is no configuration {str(name)!r}; give one of {', '.join(PRESETS)}, or a .toml file")
    return path


def _with_bases(path: Path) -> list[Layer]:
    """A file, its base, and so on to the one that has none."""
    layers, seen = [], []
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen:
            raise InputError(f"{path}: `base` leads round in a circle, back to {following}; take one of them out")
        seen.append(following.resolve())
        values = _read(following)
        base = values.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise InputError(f"{following}: `base` is {base!r}; give a preset's name or a file")
        layers.append(Layer(following, _anchored(values, following.parent)))
        following = None if base is None else _find(base, following.parent)
    return layers


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(msgspec.toml.decode(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; check its permissions") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{path}: not TOML: {error}; see the configurations in {FOLDER}") from error


def _anchored(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the paths of data sets and local weights made absolute."""
    anchored = dict(values)
    for table, keys in (("model", ("checkpoint", "designer", "autoencoder")), ("nano", ("root",))):
        if isinstance(values.get(table), dict):
            anchored[table] = {
                key: str((folder / value).resolve())
                if key in keys and isinstance(value, str) and (table == "nano" or (folder / value).is_dir())
                else value
                for key, value in values[table].items()
            }
    if isinstance(values.get("data"), list):
        anchored["data"] = [_anchored_set(entry, folder) for entry in values["data"]]
    return anchored


def _anchored_set(entry: Any, folder: Path) -> Any:
    try:
        return msgspec.to_builtins(msgspec.convert(entry, DataSpec).resolved(folder))
    except msgspec.ValidationError:
        return entry  # told with the rest


def _parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {text}: give key=value, such as loop.steps=100")
        nested: Any = _value(value.strip())
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        values = _over(values, nested)
    return _anchored(values, Path())


def _value(text: str) -> Any:
    """A TOML value; what isn't one is taken as text."""
    try:
        return msgspec.toml.decode(f"value = {text}")["value"]
    except (msgspec.DecodeError, ValueError):
        return text


def _over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {
        key: _over(below[key], above[key]) if key in below and key in above else {**below, **above}[key]
        for key in {**below, **above}
    }


def _explained(message: str, layers: Sequence[Layer]) -> str:
    """msgspec's message with the file that says it."""
    place, wrong = _PLACE.search(message), _FIELD.search(message)
    keys = [part for part in re.split(r"[.\[]", place[1]) if part] if place else []
    keys += [wrong[1]] if wrong else []
    shown = re.sub(
        r"\.\[", "[", (f"{place[1]}." if place and wrong else place[1] if place else "") + (wrong[1] if wrong else "")
    )
    what = _PLACE.sub("", message)
    origin = next((layer.origin for layer in reversed(layers) if _says(layer.values, keys)), layers[-1].origin)
    return f"{origin}: `{shown}`: {what}; see the configurations in {FOLDER}"


def _says(values: Any, keys: Sequence[str]) -> bool:
    """Whether nested values hold a key; what stands for any key or a number matches as far as it goes."""
    for key in keys:
        if key.endswith("]"):
            return bool(values)
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        inner = [_flat(f"{name}.{key}" if name else key, item) for key, item in value.items()]
        return {key: item for part in inner for key, item in part.items()}
    return {name: value}
