"""Recipes are files: the package's own, and what a person may get wrong in one."""

from pathlib import Path

import pytest
import torch

from dimrt.errors import InputError
from dimrt.export.precision import FP16, FP32, RECIPES, load_recipe
from dimrt.export.precision.recipe import FOLDER, NAMES
from dimrt.manifest import GRAPHS


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_of_the_package_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description
    assert recipe == RECIPES[name]
    assert set(recipe.limits) == set(recipe.dtypes) == set(GRAPHS)
    cpu = name.endswith("-cpu") or name == "fp32"
    assert (recipe.runtime == "onnxruntime") == name.endswith("-cpu")
    assert set(recipe.dtypes.values()) == {"float32" if cpu else "float16"}


def test_no_recipe_is_forgotten_in_the_folder() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == sorted(NAMES)


def test_formats_by_name() -> None:
    int4 = load_recipe("int4")
    assert int4.rule("language", "layers.3.mlp.down.weight").format == "w4a16"
    assert int4.rule("language", "head.weight").format == "w8a16"
    assert int4.rule("vision", "blocks.0.qkv.weight") is None
    assert int4.rule("step", "blocks.0.expand.weight").format == "w8a8"
    for kept in ("embed.weight", "time.first.weight", "out.weight"):
        assert int4.rule("step", kept) is None
    assert int4.measured and not FP16.measured
    assert (FP16.torch_dtype("step"), FP32.torch_dtype("step")) == (torch.float16, torch.float32)


def test_later_rules_win_and_float_takes_back(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda text: text + RULE + RULE.replace('"*"', '"out.weight"').replace("w8a8", "float"))
    recipe = load_recipe(path)
    assert recipe.rule("step", "anything").format == "w8a8"
    assert recipe.rule("step", "out.weight") is None


def test_unquantized_keeps_the_dtypes() -> None:
    for recipe in RECIPES.values():
        plain = recipe.unquantized()
        assert plain.rules == () and plain.dtypes == recipe.dtypes and not plain.measured


RULE = '\n[[rules]]\ngraph = "step"\nweights = "*"\nformat = "w8a8"\n'


def changed(folder: Path, change: object) -> Path:
    path = folder / "mine.toml"
    path.write_text(change((FOLDER / "fp16.toml").read_text()))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + RULE.replace("weights", "wieghts"), ["wieghts", "rules[0]"]),
        (lambda text: text + RULE.replace("w8a8", "w3a8"), ["w3a8", "rules[0]"]),
        (lambda text: text + RULE.replace("step", "stpe"), ["stpe", "vision, language"]),
        (lambda text: text + RULE + "group = 100\n", ["100", "16, 32, 64, 128, 256"]),
        (lambda text: text + RULE + "group = 64\n", ["group", "w8a8"]),
        (lambda text: text + RULE.replace("w8a8", "fp8").replace("step", "*") + "group = true\n", ["rules[0]"]),
        (lambda text: text.replace('vision = "float16"', 'vision = "float8"'), ["float8", "dtypes"]),
        (lambda text: text.replace('vision = "float16"', 'vsion = "float16"'), ["vsion", "vision, language"]),
        (lambda text: text.replace('vision = "float16"\n', ""), ["dtypes", "vision"]),
        (lambda text: text.replace("decode = 7e-3", "decode = -1.0"), ["limits.decode", "-1"]),
        (lambda text: text.replace("decode = 7e-3", "decode = nan"), ["limits.decode", "nan"]),
        (lambda text: text.replace('name = "fp16"', ""), ["name"]),
        (lambda text: text.replace("[limits]", "[limits"), ["mine.toml"]),
        (lambda text: "\udcff", ["mine.toml"]),
    ],
)
def test_a_mistake_names_file_and_field(tmp_path: Path, change: object, said: list[str]) -> None:
    path = tmp_path / "mine.toml"
    text = change((FOLDER / "fp16.toml").read_text())
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    for word in [str(path), *said]:
        assert word in str(caught.value)


def test_fp8_wants_half_precision_around_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((FOLDER / "fp32.toml").read_text() + RULE.replace("w8a8", "fp8"))
    with pytest.raises(InputError, match="float16"):
        load_recipe(path)


@pytest.mark.parametrize("name", ["int9", "folder/none.toml"])
def test_a_recipe_that_is_not_there_names_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match="int4-cpu"):
        load_recipe(name)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'name = "{path.stem}"\n{text}')
    return path


def test_a_base_gives_what_the_file_does_not_say(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.toml", 'base = "int8"\n[limits]\nstep = 0.5\n' + RULE)
    recipe, base = load_recipe(mine), load_recipe("int8")
    assert (recipe.name, recipe.description) == ("mine", "")
    assert recipe.dtypes == base.dtypes
    assert recipe.limits == {**base.limits, "step": 0.5}
    assert recipe.rules[:-1] == base.rules
    assert recipe.rule("step", "out.weight").format == "w8a8"


def test_a_base_may_be_a_file_with_a_base_by_its_path_from_there(tmp_path: Path) -> None:
    written(tmp_path / "shared" / "lower.toml", 'base = "int4"\n[limits]\nstep = 0.5\nvision = 0.1\n')
    written(tmp_path / "shared" / "upper.toml", 'base = "lower.toml"\n[limits]\nstep = 0.6\n')
    recipe = load_recipe(written(tmp_path / "mine" / "mine.toml", 'base = "../shared/upper.toml"\n'))
    assert recipe.limits == {**load_recipe("int4").limits, "step": 0.6, "vision": 0.1}
    assert recipe.rules == load_recipe("int4").rules


@pytest.mark.parametrize("name", ["fp32", "int8", "int4"])
def test_recipes_for_processors_are_their_base_in_float32(name: str) -> None:
    own, base = load_recipe(f"{name}-cpu"), load_recipe(name)
    assert (own.rules, own.limits) == (base.rules, base.limits)
    assert own.description not in ("", base.description)
    assert (own.runtime, base.runtime) == ("onnxruntime", "any")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base = "int9"\n', ["mine.toml", "`base` 'int9'", "int4-cpu", ".toml"]),
        ('base = "other"\n', ["mine.toml", "`base` 'other'"]),
        ('base = "mine.toml"\n', ["mine.toml", "circle", "mine.toml -> mine.toml"]),
        ('base = "round.toml"\n', ["round.toml", "circle", "mine.toml -> round.toml -> mine.toml"]),
        ('base = "wrong.toml"\n', ["wrong.toml", "wieghts", "rules[0]"]),
        ('base = "limit.toml"\n', ["limit.toml", "limits.step", "-1"]),
        ('bsae = "int8"\n', ["mine.toml", "bsae"]),
        ("base = 8\n", ["mine.toml", "base"]),
        ('base = "int8"\n[limits]\nstpe = 0.1\n', ["mine.toml", "limits.stpe", "vision, language"]),
        (
            'base = "fp8"\n[dtypes]\nstep = "float32"\n',
            ["fp8.toml (a base of ", "mine.toml", "rules[5]", "float16", "step"],
        ),
        ('[dtypes]\nstep = "float32"\n', ["mine.toml", "dtypes", "vision", 'base = "fp16"']),
    ],
)
def test_a_mistake_about_a_base_names_the_file_it_is_in(tmp_path: Path, text: str, said: list[str]) -> None:
    written(tmp_path / "round.toml", 'base = "mine.toml"\n')
    written(tmp_path / "wrong.toml", 'base = "int8"\n' + RULE.replace("weights", "wieghts"))
    written(tmp_path / "limit.toml", 'base = "int8"\n[limits]\nstep = -1.0\n')
    with pytest.raises(InputError) as caught:
        load_recipe(written(tmp_path / "mine.toml", text))
    for word in said:
        assert word in str(caught.value)
