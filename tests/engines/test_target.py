"""Targets: what comes with dimrt is complete; a mistake is named with the file, the key and what is allowed."""

from pathlib import Path

import pytest

from dimrt.engines.target import AXES, load_target, target_names
from dimrt.errors import InputError

GIVEN = {
    "orin-nano-8gb",
    "orin-nano-super-8gb",
    "orin-nx-16gb",
    "orin-agx-64gb",
    "rtx-3060",
    "rtx-4060",
    "rtx-4090",
    "rtx-5090",
    "h200",
    "cpu",
}
GOOD = """
name = "mine"
device = "A card"
compute_capability = "8.9"
memory_bytes = 7_000_000_000
bandwidth = 272e9
flavour = "tensorrt-rtx"
recipe = "int8"
residency = "phased"

[peak]
float16 = 30e12

[pinned]
length = 4096

[shapes.language]
tokens = [1, 512, 512]
"""


def written(folder: Path, text: str) -> Path:
    """A target file with this text."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_targets_of_the_design_are_there() -> None:
    assert set(target_names()) == GIVEN


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_shipped_target_bounds_every_free_dimension(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.peak["float32"] > 0
    if target.flavour == "onnxruntime":
        assert target.compute_capability is None and not target.shapes
    else:
        assert {graph: tuple(axes) for graph, axes in target.shapes.items()} == AXES
        assert target.pinned["length"] % 128 == 0


def test_the_eight_gigabyte_orin_has_its_usable_memory_only() -> None:
    assert load_target("orin-nano-super-8gb").memory_bytes == 5_200_000_000


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    target = load_target(written(tmp_path, GOOD))
    assert target.shapes == {"language": {"tokens": (1, 512, 512)}}
    assert load_target(str(tmp_path / "mine.toml")) == target


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("memory_bytes", "memory_byte", ("memory_byte`", "memory_bytes, ")),
        ("float16 = 30e12", "float17 = 30e12", ("peak.float17", "float32, float16, int8, fp8")),
        ("float16 = 30e12", 'float16 = "fast"', ("peak", "float", "str")),
        ("float16 = 30e12", "float16 = nan", ("peak.float16", "above 0")),
        ("272e9", "0", ("bandwidth", "above 0")),
        ("7_000_000_000", '"7 GB"', ("memory_bytes", "int", "str")),
        ("7_000_000_000", "-1", ("memory_bytes", "above 0")),
        ('"tensorrt-rtx"', '"tensort"', ("flavour", "tensort")),
        ('"8.9"', "8.9", ("compute_capability", "str", "float")),
        ('"8.9"', '"sm89"', ("compute_capability", '"8.7"')),
        ("length = 4096", "lenght = 4096", ("pinned.lenght", "length")),
        ("[shapes.language]", "[shapes.langauge]", ("shapes.langauge", "vision, language")),
        ("tokens = [1", "token = [1", ("shapes.language.token`", "tokens, rows")),
        ("[1, 512, 512]", "[1, 512]", ("shapes", "length 3")),
        ("[1, 512, 512]", "[1, 600, 512]", ("shapes.language.tokens", "least <= usual <= most")),
        ("[1, 512, 512]", "[0, 1, 512]", ("shapes.language.tokens", "1 <= least")),
        ("[1, 512, 512]", "[1, 512, 512", ("TOML", "line")),
        ('name = "mine"', 'name = "yours"', ("name", "mine", "yours")),
        ('device = "A card"\n', "", ("device",)),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, named: tuple[str, ...]
) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_target(path)
    for word in (str(path), *named):
        assert word in str(caught.value)


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"rtx-4061.*orin-nx-16gb.*rtx-4060"):
        load_target("rtx-4061")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_target(tmp_path / "none.toml")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"#" * 100_000)
    with pytest.raises(InputError, match="65,536 bytes"):
        load_target(path)


def test_a_processor_has_no_compute_capability(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("tensorrt-rtx", "onnxruntime"))
    with pytest.raises(InputError, match="leave it out"):
        load_target(path)
