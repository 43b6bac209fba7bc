"""Examples made on demand, and sets mixed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_sets import cases, save, write_dim_edit

from dimrt.errors import InputError
from dimrt.export.train.data.batch import pad_conditions
from dimrt.export.train.data.crops import cut
from dimrt.export.train.data.formats import open_rows
from dimrt.export.train.data.frozen import Frozen
from dimrt.export.train.data.mixed import open_examples
from dimrt.export.train.data.online import Online
from dimrt.export.train.data.order import Order
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.data.spec import DataSpec
from dimrt.photo.read import read_photo

SIZES = ((128, 128), (200, 110))


def open_online(path: Path, frozen: Frozen, problems: Problems) -> Online:
    return Online(open_rows(DataSpec("dim-edit", str(path)), problems), frozen, problems)


def truncate(path: Path) -> None:
    """A picture whose header is whole and whose pixels aren't."""
    path.write_bytes(path.read_bytes()[:200])


def test_a_batch_is_what_the_frozen_parts_make_of_the_rows(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path, 4, SIZES, "do it")
    online = open_online(path, tiny, Problems())
    assert list(online.sizes()) == [(4, 4), (3, 5)] * 2
    assert list(online.weights()) == [1.0] * 4
    batch = online.batch([3, 1])
    assert batch.keys == ["tos_dataset_edit/case-3", "tos_dataset_edit/case-1"]
    for row, index in enumerate((3, 1)):
        source, target = (read_photo(tmp_path / rows[index][name]) for name in ("image_path", "image_path_target"))
        for photo, latents in ((source, batch.source), (target, batch.target)):
            expected = tiny.encode(torch.from_numpy(cut(photo, (160, 96)))[None])[0]
            torch.testing.assert_close(latents[row], expected, atol=1e-5, rtol=1e-5)
        turn = tiny.turn(rows[index]["prompt"], picture=True)
        (rows_expected,) = tiny.conditions([turn], [tiny.view(source)])
        count = int(batch.mask[row].sum())
        assert count == len(rows_expected) == tiny.image_tokens + 2 + len(rows[index]["prompt"])
        torch.testing.assert_close(batch.condition[row, :count], rows_expected, atol=1e-5, rtol=0)
        assert not batch.condition[row, count:].any() and not batch.mask[row, count:].any()


def test_a_batch_of_several_sizes_is_refused(tmp_path: Path, tiny: Frozen) -> None:
    path, _ = write_dim_edit(tmp_path, 2, SIZES, "x")
    with pytest.raises(InputError, match="one latent size"):
        open_online(path, tiny, Problems()).batch([0, 1])


def test_a_damaged_picture_is_replaced_the_same_way_every_time_and_counted_once(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path, 6, SIZES, "x")
    truncate(tmp_path / rows[2]["image_path_target"])
    problems = Problems()
    online = open_online(path, tiny, problems)
    assert len(online) == 6 and not len(problems)
    assert online.batch([0, 2]).keys == ["tos_dataset_edit/case-0", "tos_dataset_edit/case-4"]
    assert online.batch([2]).keys == ["tos_dataset_edit/case-4"]
    assert [(problem.kind, problem.line) for problem in problems] == [("unreadable picture", 3)]
    assert rows[2]["image_path_target"] in next(iter(problems)).detail
    fresh = open_online(path, tiny, Problems())
    assert fresh.batch([2]).keys == ["tos_dataset_edit/case-4"]


def test_the_last_row_is_replaced_by_the_first_of_its_size(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path, 4, SIZES, "x")
    truncate(tmp_path / rows[3]["image_path"])
    assert open_online(path, tiny, Problems()).batch([3]).keys == ["tos_dataset_edit/case-1"]


def test_nothing_left_of_a_size_is_an_error_with_the_reasons(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path, 2, text="x")
    for row in rows:
        truncate(tmp_path / row["image_path"])
    with pytest.raises(InputError, match="unreadable picture"):
        open_online(path, tiny, Problems()).batch([0])


def test_a_text_that_is_too_long_is_replaced(tmp_path: Path, tiny: Frozen) -> None:
    path, _ = write_dim_edit(tmp_path, 2, text="x")
    path.write_text(path.read_text().replace("x 0", "x" * 100))
    problems = Problems()
    assert open_online(path, tiny, problems).batch([0]).keys == ["tos_dataset_edit/case-1"]
    assert [problem.kind for problem in problems] == ["long text"]


def test_a_set_must_go_with_the_task(tmp_path: Path, tiny: Frozen, tiny_generate: Frozen) -> None:
    path, _ = write_dim_edit(tmp_path, 1, text="x")
    with pytest.raises(InputError, match="holds edits"):
        open_online(path, tiny_generate, Problems())
    save(tmp_path / "captions" / "target" / "a.png", cases(1)[0].target)
    (tmp_path / "captions" / "a.txt").write_text("a")
    rows = open_rows(DataSpec("folders", str(tmp_path / "captions")), Problems())
    with pytest.raises(InputError, match="captions without sources"):
        Online(rows, tiny, Problems())


def test_captions_have_no_picture_in_the_turn(tmp_path: Path, tiny_generate: Frozen) -> None:
    save(tmp_path / "target" / "a.png", cases(1)[0].target, (200, 110))
    (tmp_path / "a.txt").write_text("a red disc\n")
    examples = open_examples([DataSpec("folders", str(tmp_path))], lambda: tiny_generate, Problems())
    batch = examples.batch([0])
    assert batch.source is None
    assert batch.mask.sum() == len("a red disc")
    photo = read_photo(tmp_path / "target" / "a.png")
    expected = tiny_generate.encode(torch.from_numpy(cut(photo, (128, 128)))[None])
    torch.testing.assert_close(batch.target, expected, atol=1e-5, rtol=1e-5)


def test_turned_and_transparent_pictures_arrive_as_the_runtime_reads_them(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path, 1, ((200, 110),), "x")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("image_path", "image_path_target"):
        place = (tmp_path / rows[0][name]).with_suffix(".jpg")
        with Image.open(tmp_path / rows[0][name]) as image:
            image.save(place, exif=exif)
    path.write_text(path.read_text().replace(".png", ".jpg"))
    online = open_online(path, tiny, Problems())
    assert list(online.sizes()) == [(5, 3)]
    assert online.batch([0]).target.shape == (1, 8, 5, 3)


def test_sets_mix_by_their_weights(tmp_path: Path, tiny: Frozen) -> None:
    one, _ = write_dim_edit(tmp_path / "one", 3, SIZES, "x")
    two, _ = write_dim_edit(tmp_path / "two", 4, SIZES, "y")
    specs = [
        DataSpec("dim-edit", str(one), name="one"),
        DataSpec("dim-edit", str(two), name="two", weight=0.5),
    ]
    calls: list[int] = []

    def frozen() -> Frozen:
        calls.append(1)
        return tiny

    mixed = open_examples(specs, frozen, Problems())
    assert len(calls) == 1 and len(mixed) == 7
    assert list(mixed.weights()) == [1.0] * 3 + [0.5] * 4
    assert list(mixed.sizes()) == [(4, 4), (3, 5), (4, 4)] + [(4, 4), (3, 5)] * 2
    batch = mixed.batch([5, 0, 3])
    assert batch.keys == ["two/case-2", "one/case-0", "two/case-0"]
    single = open_online(two, tiny, Problems()).batch([2, 0])
    torch.testing.assert_close(batch.target[[0, 2]], single.target, atol=1e-5, rtol=1e-5)
    longest = single.mask.shape[1]
    torch.testing.assert_close(batch.condition[[0, 2], :longest], single.condition, atol=1e-5, rtol=0)
    order = Order.of(mixed, 2, 0)
    assert order.per_epoch == 5
    for step in range(6):
        assert len(mixed.batch(order.indices(step)).keys) == 2


def test_conditions_are_padded_at_the_end() -> None:
    condition, mask = pad_conditions([torch.ones(2, 3), torch.full((4, 3), 2.0)])
    assert condition.shape == (2, 4, 3) and condition.dtype == mask.dtype == torch.float32
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(condition[..., 0], [[1, 1, 0, 0], [2, 2, 2, 2]])
