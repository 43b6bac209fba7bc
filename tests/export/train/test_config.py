"""Configurations: presets, bases, overrides, and what is said of mistakes."""

from pathlib import Path

import msgspec
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from checkpoint_folders import PAINTER

from dimrt.errors import InputError
from dimrt.export.model.painter import Painter
from dimrt.export.train.config import FOLDER, PRESETS, TrainConfig, differences, encode_config, load_config, with_data

OWN = """
base = "dim-4.6b-edit"
[loop]
batch = 64
[loop.optimizer.painter]
rate = 1e-5
[[data]]
kind = "pairs"
path = "sets/pairs.jsonl"
"""


def write(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_survives_being_written_out(name: str):
    config = load_config(name)
    assert config.description
    assert msgspec.toml.decode(encode_config(config), type=TrainConfig) == config


def test_the_published_recipe():
    first, middle, last = (load_config(name) for name in PRESETS[:3])
    for config in (first, middle, last):
        assert (config.flow.shift, config.flow.drop, config.flow.mean, config.flow.spread) == (3.0, 0.1, 0.0, 1.0)
        assert (config.loop.clip, config.loop.precision, config.flow.checkpointing) == (0.1, "bf16", True)
        assert config.loop.optimizer["painter"].rate == 2e-5
    assert (first.stage, middle.stage, last.stage) == ("text-to-image", "edit", "edit")
    assert middle.model.checkpoint == f"stdKonjac/{first.model.name}"
    assert last.model.checkpoint == f"stdKonjac/{middle.model.name}"


def test_a_file_counts_over_its_base_and_the_command_line_over_both(tmp_path: Path):
    config = load_config(
        write(tmp_path, OWN), ["loop.steps=7", "model.name=mine", "loop.optimizer.painter.epsilon=1e-9"]
    )
    base = load_config("dim-4.6b-edit")
    assert (config.loop.batch, config.loop.steps, config.loop.clip) == (64, 7, base.loop.clip)
    painter = config.loop.optimizer["painter"]
    assert (painter.rate, painter.epsilon, painter.betas) == (1e-5, 1e-9, base.loop.optimizer["painter"].betas)
    assert config.model.name == "mine"
    assert config.data[0].path == str(tmp_path / "sets" / "pairs.jsonl")


def test_a_local_checkpoint_is_found_from_the_file(tmp_path: Path):
    (tmp_path / "weights").mkdir()
    config = load_config(write(tmp_path, 'base = "dim-4.6b-edit"\n[model]\ncheckpoint = "weights"'))
    assert config.model.checkpoint == str(tmp_path / "weights")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base = "dim-4.6b-edit"\n[loop]\nstps = 3', r"own\.toml: `loop\.stps`.*unknown"),
        ('base = "dim-4.6b-edit"\n[loop.optimizer.painter]\nrat = 3', r"own\.toml: `loop\.optimizer.*rat`"),
        ('base = "dim-4.6b-edit"\n[flow]\ndrop = 1.5', r"own\.toml: `flow\.drop`.*<= 1"),
        ('base = "dim-4.6b-edit"\n[[data]]\nkind = "pears"', r"own\.toml: `data\[0\]\.kind`"),
        ("[loop]\nbatch = 4", r"own\.toml: `loop\.steps`.*required"),
        ('base = "nothing"', "no configuration 'nothing'"),
        ('base = "own.toml"', "circle"),
        ("base = 3", "`base` is 3"),
        ("loop = [", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(tmp_path: Path, text: str, expected: str):
    with pytest.raises(InputError, match=expected):
        load_config(write(tmp_path, text))


def test_a_mistake_in_a_base_is_told_of_the_base(tmp_path: Path):
    write(tmp_path, 'base = "dim-4.6b-edit"\n[samples]\ncunt = 3', "below.toml")
    with pytest.raises(InputError, match=r"below\.toml: `samples\.cunt`"):
        load_config(write(tmp_path, 'base = "below.toml"\n[loop]\nsteps = 3'))


@pytest.mark.parametrize("text", ["loop.steps", "=3", "loop.stps=3", "loop.steps=many"])
def test_a_wrong_override_is_named(text: str):
    with pytest.raises(InputError, match="--set"):
        load_config("nano", [text])


def test_data_of_the_command_line_replaces_the_configurations(tmp_path: Path):
    config = load_config(write(tmp_path, OWN))
    (tmp_path / "made").mkdir()
    write(tmp_path, '[[data]]\nkind = "pairs"\npath = "other.csv"', "sets.toml")
    found = with_data(config, [str(tmp_path / "made"), str(tmp_path / "sets.toml")])
    assert [(spec.kind, Path(spec.path).name) for spec in found.data] == [
        ("precomputed", "made"),
        ("pairs", "other.csv"),
    ]
    assert with_data(config, []) == config
    assert with_data(load_config("nano"), [str(tmp_path)]).nano.root == str(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        with_data(config, [str(tmp_path / "absent")])


@pytest.mark.parametrize("name", ["ddp", "fsdp", "machines"])
def test_the_shipped_accelerate_files_are_read_and_name_the_painters_blocks(name: str):
    file = load_config_from_file(str(FOLDER / "accelerate" / f"{name}.yaml"))
    assert file.mixed_precision == "bf16"
    assert file.num_processes == 8 * file.num_machines
    assert str(file.distributed_type.value) == ("MULTI_GPU" if name == "ddp" else "FSDP")
    if name != "ddp":
        assert file.fsdp_config["fsdp_version"] == 2
        blocks = {type(module).__name__ for module in Painter(PAINTER).modules()}
        assert file.fsdp_config["fsdp_transformer_layer_cls_to_wrap"] in blocks


def test_differences_name_the_keys():
    one = load_config("nano")
    assert differences(one, load_config("nano", ["loop.steps=5", "model.name=x"])) == ["loop.steps", "model.name"]
