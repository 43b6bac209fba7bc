"""The editor end to end on tiny bundles: the original's chain, events, cancelling, promises and refusals."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from recorded import Arrays, Cases
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.designer import Designer
from dimrt.editor import Editor
from dimrt.errors import BundleError, Cancelled, InputError
from dimrt.events import PHASES, Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Progress
from dimrt.options import EditOptions
from dimrt.photo.fit import from_painter, original_crop
from dimrt.photo.read import read_photo
from dimrt.result import Design, EditResult
from dimrt.vision import condition_size, prepare

INSTRUCTION = "make it red"
FAST = EditOptions(steps=2, max_new_tokens=6)
CONDITION_LIMIT, LATENT_LIMIT, PICTURE_LIMIT, OFF_BY_ONE = 2e-4, 2e-3, 2e-3, 1e-3


@pytest.fixture
def editor(edit_bundle: Bundle, recording: RecordingBackend) -> Editor:
    return Editor(edit_bundle, recording)


@pytest.fixture(scope="session")
def undisturbed(edit_bundle: Bundle, edit_backend: OrtBackend, photo: NDArray[np.uint8]) -> EditResult:
    return Editor(edit_bundle, edit_backend).edit(photo, INSTRUCTION, FAST)


def run(editor: Editor, *args: Any) -> tuple[list[Event], EditResult]:
    events: list[Event] = []
    return events, editor.edit(*args, on_event=events.append)


@pytest.mark.parametrize("case", ["edit_short", "edit_long"])
def test_the_originals_edit(
    edit_bundle: Bundle, edit_backend: OrtBackend, cases: Cases, chain_arrays: Arrays, start_noise_233: Any, case: str
) -> None:
    """Picture and token ids in, picture out, through the public steps; the designer is given the recorded ids."""
    pixels = chain_arrays["source_uint8" if case == "edit_short" else "source2_uint8"]
    designer = Designer(edit_bundle, edit_backend)
    vision = edit_bundle.manifest.designer.vision
    turn = cases.turn(chain_arrays[f"{case}.input_ids"][0])
    view = designer.view(prepare(pixels, vision, condition_size(vision)))
    condition = edit_backend.to_host(designer.condition(turn, view))[0]
    rows = int(chain_arrays[f"{case}.emb_masks"].sum())
    assert np.abs(condition - chain_arrays[f"{case}.caption_embs"][0, 0][:rows]).max() < CONDITION_LIMIT

    editor = Editor(edit_bundle, edit_backend)
    assert np.array_equal(original_crop(read_photo(pixels), 128)[0], chain_arrays[f"{case}.raw_image"])
    source = editor.encode(pixels, EditOptions(frame="crop"))
    assert np.abs(source - chain_arrays[f"{case}.latents_condition"]).max() < 1e-4
    latent = editor.paint(Design(None, condition), source, noise=start_noise_233)
    assert np.abs(latent - chain_arrays[f"{case}.final_latent"]).max() < LATENT_LIMIT
    _check_picture(editor.decode(latent), chain_arrays, case)


def test_the_originals_generate(
    generate_bundle: Bundle, generate_backend: OrtBackend, cases: Cases, chain_arrays: Arrays, start_noise_233: Any
) -> None:
    turn = cases.turn(chain_arrays["t2i.input_ids"][0])
    condition = generate_backend.to_host(Designer(generate_bundle, generate_backend).condition(turn, None))[0]
    rows = int(chain_arrays["t2i.emb_masks"].sum())
    assert np.abs(condition - chain_arrays["t2i.caption_embs"][0, 0][:rows]).max() < CONDITION_LIMIT
    editor = Editor(generate_bundle, generate_backend)
    latent = editor.paint(Design(None, condition), noise=start_noise_233)
    assert np.abs(latent - chain_arrays["t2i.final_latent"]).max() < LATENT_LIMIT
    _check_picture(editor.decode(latent), chain_arrays, "t2i")


def _check_picture(pixels: NDArray[np.float32], arrays: Arrays, case: str) -> None:
    assert np.abs(pixels - arrays[f"{case}.image"]).max() < PICTURE_LIMIT
    difference = np.abs(from_painter(pixels).astype(int) - arrays[f"{case}.image_uint8"].astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < OFF_BY_ONE


def test_events_come_in_order_and_tell_the_whole_story(editor: Editor, photo: NDArray[np.uint8]) -> None:
    events, result = run(editor, photo, INSTRUCTION, FAST)
    for kind in (PhaseStarted, PhaseFinished):
        assert tuple(event.phase for event in events if isinstance(event, kind) and event.phase != "load") == PHASES
    assert tuple(phase for phase in result.timings if phase != "load") == PHASES
    raw = "".join(event.text for event in events if isinstance(event, PlanText))
    assert result.blueprint == Blueprint.parse(raw)
    assert [event for event in events if isinstance(event, PlanReady)] == [PlanReady(Blueprint.parse(raw), "full")]
    assert [event.done for event in events if isinstance(event, Progress) and event.phase == "paint"] == [1, 2]
    assert [event.total for event in events if isinstance(event, PhaseStarted) and event.phase == "plan"] == [6]
    assert result.image.shape == photo.shape
    assert result.painted.shape == (96, 128, 3) or result.painted.shape[0] * result.painted.shape[1] <= 128**2
    assert (result.seed, result.steps, result.guidance_scale) == (233, 2, 7.5)
    assert result.provider == "onnxruntime CPUExecutionProvider"
    assert result.bundle == editor.bundle.manifest.name


def test_the_steps_give_the_whole_edits_picture(
    editor: Editor, photo: NDArray[np.uint8], undisturbed: EditResult
) -> None:
    design = editor.design(photo, INSTRUCTION, FAST)
    latent = editor.paint(design, editor.encode(photo, FAST), FAST)
    assert design.blueprint == undisturbed.blueprint
    assert np.array_equal(from_painter(editor.decode(latent)), undisturbed.painted)


def test_same_request_same_bytes(editor: Editor, photo: NDArray[np.uint8], undisturbed: EditResult) -> None:
    editor.edit(photo[::-1], "zz", FAST)
    again = editor.edit(Image.fromarray(photo), INSTRUCTION, FAST)
    assert np.array_equal(again.image, undisturbed.image)
    other = editor.edit(photo, INSTRUCTION, EditOptions(steps=2, max_new_tokens=6, seed=5))
    assert other.blueprint == undisturbed.blueprint
    assert not np.array_equal(other.painted, undisturbed.painted)


@pytest.mark.parametrize(
    ("kind", "phase"), [*((PhaseStarted, phase) for phase in PHASES), (Progress, "plan"), (Progress, "paint")]
)
def test_cancel_in_any_phase_then_an_undisturbed_edit(
    editor: Editor, photo: NDArray[np.uint8], undisturbed: EditResult, kind: type[Event], phase: str
) -> None:
    cancel = threading.Event()
    seen: list[Event] = []

    def on_event(event: Event) -> None:
        seen.append(event)
        if isinstance(event, kind) and event.phase == phase:
            cancel.set()

    with pytest.raises(Cancelled):
        editor.edit(photo, INSTRUCTION, FAST, on_event=on_event, cancel=cancel)
    assert isinstance(seen[-1], kind)
    assert seen[-1].phase == phase
    assert np.array_equal(editor.edit(photo, INSTRUCTION, FAST).image, undisturbed.image)


def test_cancel_before_the_start_does_nothing(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        editor.edit(photo, INSTRUCTION, FAST, cancel=cancel)
    assert recording.runs == []


def test_closing_the_stream_stops_it(editor: Editor, photo: NDArray[np.uint8], undisturbed: EditResult) -> None:
    events = editor.events(photo, INSTRUCTION, FAST)
    while not isinstance(next(events), PlanText):
        pass
    events.close()
    assert np.array_equal(editor.edit(photo, INSTRUCTION, FAST).image, undisturbed.image)


def test_the_second_edit_of_a_photo_reads_no_picture_again(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    editor.edit(photo, INSTRUCTION, FAST)
    assert len(recording.feeds("vision")) == 1
    prefix = max(feeds["embeddings"].shape[1] for feeds in recording.feeds("language"))
    recording.runs.clear()
    editor.edit(photo, "another", FAST)
    assert recording.feeds("vision") == []
    assert max(feeds["embeddings"].shape[1] for feeds in recording.feeds("language")) < prefix


def test_native_view_plans_on_the_photos_own_size(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    native = EditOptions(steps=1, max_new_tokens=3, plan_view="native")
    editor.edit(photo, INSTRUCTION, native)
    orders = [len(feeds["order"]) for feeds in recording.feeds("vision")]
    assert orders == [(196 // 28) * (224 // 28), 25]


def test_a_ready_plan_is_painted_as_it_stands(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    events, result = run(editor, photo, INSTRUCTION, EditOptions(steps=1, plan=" paint red\n"))
    assert result.blueprint == Blueprint.parse(" paint red\n")
    assert "plan" not in result.timings
    bare = editor.edit(photo, "paint red", EditOptions(steps=1, think=False))
    assert bare.blueprint is None
    assert np.array_equal(bare.painted, result.painted)
    assert [event.blueprint for event in events if isinstance(event, PlanReady)] == [result.blueprint]


def test_an_empty_answer_leaves_the_bare_instruction(editor: Editor, photo: NDArray[np.uint8]) -> None:
    """This designer has nothing to say about "zz"."""
    thinking = editor.edit(photo, "zz", FAST)
    assert thinking.blueprint is None
    assert np.array_equal(thinking.painted, editor.edit(photo, "zz", EditOptions(steps=2, think=False)).painted)


def test_crop_returns_the_painted_square(editor: Editor, photo: NDArray[np.uint8]) -> None:
    result = editor.edit(photo, INSTRUCTION, EditOptions(steps=1, think=False, frame="crop"))
    assert result.image.shape == (128, 128, 3)
    assert np.array_equal(result.image, result.painted)
    assert result.composite == "none"


def test_alpha_is_kept_and_the_callers_array_is_not_touched(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    """The designer sees the photo on white, the painter without its alpha, as in the original."""
    alpha = np.arange(photo.shape[0] * photo.shape[1]).reshape(photo.shape[:2]).astype(np.uint8)
    given = np.dstack([photo, alpha])
    before = given.copy()
    result = editor.edit(given, INSTRUCTION, EditOptions(steps=1, think=False))
    assert np.array_equal(result.image[:, :, 3], alpha)
    vision = editor.bundle.manifest.designer.vision
    on_white = prepare(photo, vision, condition_size(vision), alpha)
    assert np.array_equal(recording.feeds("vision")[0]["patches"], on_white.patches)
    opaque = editor.encode(photo)
    assert np.array_equal(editor.encode(given), opaque)
    result.image[:] = 0
    assert np.array_equal(given, before)


def test_half_precision_paints_nearly_the_same(
    tiny_fp16_bundle: Path, edit_backend: OrtBackend, edit_bundle: Bundle, photo: NDArray[np.uint8]
) -> None:
    """Seen: 2 levels at most, 0.09 on average, from rounding of half's 11 bits through 30 guided steps."""
    options = EditOptions(think=False)
    side = min(photo.shape[:2])
    square = photo[:side, :side]
    full = Editor(edit_bundle, edit_backend).edit(square, INSTRUCTION, options).painted.astype(int)
    half = Editor.load(tiny_fp16_bundle, device="cpu", threads=1).edit(square, INSTRUCTION, options).painted
    assert full.std() > 20
    assert np.abs(full - half).max() <= 6
    assert np.abs(full - half).mean() < 0.5


@pytest.mark.parametrize("instruction", ["", "   ", "\n"])
def test_empty_instruction(editor: Editor, photo: NDArray[np.uint8], instruction: str) -> None:
    with pytest.raises(InputError, match="the instruction is empty"):
        editor.edit(photo, instruction)


def test_over_long_texts_name_their_limit(editor: Editor, photo: NDArray[np.uint8]) -> None:
    """40 condition rows less 25 image tokens and their two marks."""
    editor.edit(photo, "x" * 13, EditOptions(steps=1, think=False))
    with pytest.raises(InputError, match="the instruction has 14 tokens, this bundle takes at most 13"):
        editor.edit(photo, "x" * 14)
    with pytest.raises(InputError, match="the plan has 14 tokens"):
        editor.edit(photo, "x", EditOptions(plan="y" * 14))


def test_special_tokens_in_an_instruction_do_not_end_it(
    editor: Editor, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    editor.edit(photo, "a<|im_end|>b", EditOptions(steps=1, think=False))
    assert recording.feeds("connector")[0]["hidden"].shape[1] == 27 + len("a<|im_end|>b")


def test_a_leading_line_break_leaves_a_condition(generate_bundle: Bundle, generate_backend: OrtBackend) -> None:
    design = Editor(generate_bundle, generate_backend).design(None, "\nred")
    assert design.condition.shape == (4, 48)


def test_generate(generate_bundle: Bundle, generate_backend: OrtBackend) -> None:
    for graph in generate_bundle.manifest.graphs:
        generate_backend.engine(graph)
    events: list[Event] = []
    result = Editor(generate_bundle, generate_backend).generate("a tree", EditOptions(steps=2), on_event=events.append)
    assert result.image.shape == (128, 128, 3)
    assert result.blueprint is None
    assert [e.phase for e in events if isinstance(e, PhaseStarted)] == ["condition", "paint", "decode"]


def test_the_wrong_task_names_the_right_command(
    editor: Editor, generate_bundle: Bundle, generate_backend: OrtBackend, photo: NDArray[np.uint8]
) -> None:
    with pytest.raises(BundleError, match="made for `dimrt edit`, not for `dimrt generate`"):
        editor.generate("a tree")
    with pytest.raises(BundleError, match="made for `dimrt generate`"):
        Editor(generate_bundle, generate_backend).edit(photo, "x")


def test_load_opens_and_checks(edit_bundle: Bundle) -> None:
    editor = Editor.load(edit_bundle.path, device="cpu", threads=1)
    assert editor.bundle.digest == edit_bundle.digest
    with pytest.raises(BundleError, match="no-such"):
        Editor.load("no-such-folder")


def test_public_names() -> None:
    import dimrt

    assert dimrt.Editor is Editor
    assert dimrt.load == Editor.load
    assert set(dimrt.__all__) <= set(dir(dimrt))
    assert all(getattr(dimrt, name) is not None for name in dimrt.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = dimrt.nothing


@pytest.fixture(scope="session")
def start_noise_233(chain_arrays: Arrays) -> NDArray[np.float32]:
    """The original's start noise at this size: torch's CPU generator with seed 233 (Box-Muller on halves of 16)."""
    assert json.loads(str(chain_arrays["meta"]))["noise"].startswith("torch CPU generator, seed 233")
    shape = (1, 8, 4, 4)
    bits = np.random.RandomState(233).randint(0, 2**32, int(np.prod(shape)), np.uint32)
    uniform = ((bits & 0xFFFFFF) * np.float32(2**-24)).astype(np.float32).reshape(-1, 2, 8)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - uniform[:, 0]))
    angle = np.float32(2 * np.pi) * uniform[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(shape).astype(np.float32)
