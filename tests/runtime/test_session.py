"""Photo sessions: what the second edit needs no more, undo and redo, merged instructions, previews."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.errors import Cancelled, InputError
from dimrt.events import Event, Preview, Progress
from dimrt.options import EditOptions
from dimrt.photo.fit import painter_frame, to_painter
from dimrt.photo.mask import read_mask
from dimrt.photo.read import read_photo
from dimrt.preview import Previewer
from dimrt.session import Session, merged
from dimrt.subject import PARTS, Subject

FAST = EditOptions(steps=2, max_new_tokens=6)
PHOTOS = Path(__file__).parents[2] / "benchmarks" / "photos"


@pytest.fixture
def session(edit_bundle: Bundle, recording: RecordingBackend, photo: NDArray[np.uint8]) -> Session:
    return Editor(edit_bundle, recording).open(photo)


def test_the_second_edit_starts_at_the_instruction(session: Session, recording: RecordingBackend) -> None:
    session.edit("r", FAST)
    first = len(recording.feeds("language"))
    recording.runs.clear()
    session.edit("b", FAST)
    graphs = [name for name, _ in recording.runs]
    assert "vision" not in graphs
    assert "encode" not in graphs
    assert graphs.count("decode") == 1
    assert len(recording.feeds("language")) == first - 1
    assert min(int(feeds["position"][0]) for feeds in recording.feeds("language")) > 0


def test_edits_are_painted_from_the_original(session: Session, edit_bundle: Bundle, edit_backend: OrtBackend) -> None:
    session.edit("r", FAST)
    second = session.edit("X.", FAST)
    assert session.instructions == ("r", "X.")
    at_once = Editor(edit_bundle, edit_backend).edit(session.photo, "r and X", FAST)
    assert np.array_equal(second.image, at_once.image)


def test_edits_in_one_place_are_one_layer_and_elsewhere_another(
    session: Session, edit_bundle: Bundle, edit_backend: OrtBackend
) -> None:
    """A mask that is read again is the same place; what an edit elsewhere leaves alone stays as the layer below."""
    height, width = session.photo.pixels.shape[:2]
    left, right = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    left[:, : width // 3], right[:, width // 2 :] = True, True
    masks = [read_mask(array, (width, height)) for array in (left, left, right)]
    session.edit("r", replace(FAST, mask=masks[0], composite="painted"))
    second = session.edit("b", replace(FAST, mask=masks[1], composite="painted"))
    in_left = replace(FAST, mask=left, composite="painted")
    at_once = Editor(edit_bundle, edit_backend).edit(session.photo, "r and b", in_left)
    assert np.array_equal(second.image, at_once.image)
    third = session.edit("g", replace(FAST, mask=masks[2], composite="painted"))
    assert np.array_equal(third.image[~right], second.image[~right])
    assert not np.array_equal(third.image[right], second.image[right])
    assert np.array_equal(third.image[~(left | right)], session.photo.pixels[~(left | right)])


def test_undo_and_redo(session: Session, recording: RecordingBackend) -> None:
    first = session.edit("r", FAST)
    second = session.edit("b", FAST)
    runs = len(recording.runs)
    assert session.undo() is first
    assert session.instructions == ("r",)
    assert session.redo() is second
    assert session.undo() is first
    assert session.undo() is None
    assert session.instructions == ()
    assert len(recording.runs) == runs
    assert session.can_redo
    assert not session.can_undo
    with pytest.raises(InputError, match="no edit to undo"):
        session.undo()
    session.edit("g", FAST)
    assert session.instructions == ("g",)
    with pytest.raises(InputError, match="no undone edit"):
        session.redo()


def test_an_old_result_is_painted_again_to_the_same_bytes(
    session: Session, recording: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimrt.session.KEPT", 2)
    oldest, older, _ = (session.edit(text, FAST) for text in "abc")
    assert session.undo() is older
    runs = len(recording.runs)
    again = session.undo()
    assert len(recording.runs) > runs
    assert again is not None
    assert again is not oldest
    assert np.array_equal(again.image, oldest.image)


def test_a_cancelled_edit_changes_nothing(session: Session) -> None:
    first = session.edit("r", FAST)
    cancel = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, Progress):
            cancel.set()

    with pytest.raises(Cancelled):
        session.edit("b", FAST, on_event=stop, cancel=cancel)
    assert session.instructions == ("r",)
    session.undo()
    assert session.redo() is first


def test_one_instruction_is_left_as_it_is() -> None:
    assert merged(["Make it red. "]) == "Make it red. "
    assert merged(["Make it red.", "Remove the USA flag", "NASA logo off!"]) == (
        "Make it red and remove the USA flag and NASA logo off"
    )


@pytest.mark.parametrize("instructions", [[], ["make it red", " . "], ["", "make it red"]])
def test_an_empty_instruction_among_several_is_refused(instructions: list[str]) -> None:
    with pytest.raises(InputError, match="empty"):
        merged(instructions)


@given(st.lists(st.text("ab .", min_size=1).filter(lambda text: text.strip(" .")), min_size=2, max_size=5))
def test_no_word_is_lost_in_merging(instructions: list[str]) -> None:
    words = [word.strip(".") for word in " ".join(instructions).lower().split() if word.strip(".")]
    assert [word.strip(".") for word in merged(instructions).split() if word.strip(".") not in ("", "and")] == words


def test_a_subject_keeps_its_last_parts() -> None:
    subject = Subject(read_photo(np.zeros((40, 60, 3), np.uint8)))
    boxes = [(left, 0, left + 10, 10) for left in range(PARTS + 1)]
    parts = [subject.part(box) for box in boxes]
    assert parts[0].photo.size == (10, 10)
    assert subject.part(boxes[-1]) is parts[-1]
    assert subject.part(boxes[0]) is not parts[0]


@pytest.mark.parametrize("name", ["chelsea.jpg", "coffee.jpg"])
def test_a_preview_looks_like_the_picture(name: str) -> None:
    """On the photo itself, and on a latent it was not fitted on: the edit's."""
    editor = Editor(Bundle.open(NANO), OrtBackend(Bundle.open(NANO), threads=1))
    previews: list[Preview] = []
    options = EditOptions(previews=True, steps=4)
    result = editor.edit(
        PHOTOS / name,
        "make it look like an old sepia photo",
        options,
        on_event=lambda event: previews.append(event) if isinstance(event, Preview) else None,
    )
    assert [preview.step for preview in previews] == list(range(1, result.steps + 1))
    last = previews[-1].image.astype(np.float32)
    rows, columns = (full // small for full, small in zip(result.painted.shape, last.shape, strict=False) if small > 3)
    small = result.painted.reshape(last.shape[0], rows, last.shape[1], columns, 3).mean(axis=(1, 3))
    assert np.abs(last - small).mean() < 6
    assert np.abs(last - small).mean() < np.abs(small - small.mean(axis=(0, 1))).mean() / 4


def test_previews_change_nothing_else(edit_bundle: Bundle, edit_backend: OrtBackend, photo: NDArray[np.uint8]) -> None:
    plain = Editor(edit_bundle, edit_backend).edit(photo, "r", FAST)
    shown = Editor(edit_bundle, edit_backend).edit(photo, "r", replace(FAST, previews=True))
    assert np.array_equal(plain.image, shown.image)


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([2, 8, 16]), st.integers(1, 5))
def test_a_preview_is_fitted_to_any_size(rows: int, columns: int, factor: int, channels: int) -> None:
    """With fewer cells than channels too."""
    random = np.random.default_rng(rows * 7 + columns)
    pixels = random.uniform(-1, 1, (1, 3, rows * factor, columns * factor)).astype(np.float32)
    latent = random.standard_normal((1, channels, rows, columns)).astype(np.float32)
    patch = min(8, factor)
    assert Previewer(latent, pixels).show(latent).shape == (rows * patch, columns * patch, 3)


def test_an_exactly_linear_latent_is_shown_exactly() -> None:
    photo = read_photo(PHOTOS / "coffee.jpg")
    frame = painter_frame(photo.size, Bundle.open(NANO).manifest.resolution, "whole")
    pixels = to_painter(photo, frame)
    height, width = pixels.shape[2] // 4, pixels.shape[3] // 4
    latent = np.ascontiguousarray(pixels.reshape(1, 3, height, 4, width, 4).mean(axis=(3, 5)))
    shown = Previewer(latent, pixels).show(latent).reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    assert np.abs(shown - (latent[0].transpose(1, 2, 0) + 1) * 127.5).mean() < 1
