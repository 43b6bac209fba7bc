"""The designer against the original, and its shared prefix against no sharing."""

from collections.abc import Generator

import numpy as np
import pytest
from numpy.typing import NDArray
from recorded import Arrays, Cases
from recorder import RecordingBackend

import dimrt.designer
from dimrt.bundle import Bundle
from dimrt.designer import Designer, Piece, Written
from dimrt.language import Language
from dimrt.prompt import Turn
from dimrt.rope import position_ids
from dimrt.vision import condition_size, prepare

CASES = ("image_a", "image_b", "text")
HIDDEN_LIMIT, LOGITS_LIMIT = 1e-4, 2e-4


def finish(pieces: Generator[Piece, None, Written]) -> tuple[list[Piece], Written]:
    seen = []
    while True:
        try:
            seen.append(next(pieces))
        except StopIteration as end:
            return seen, end.value


def unshared(
    bundle: Bundle, designer: Designer, backend: RecordingBackend, cases: Cases, case: str, arrays: Arrays
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Hidden states [L, D] and last logits of a case, read in one run from an empty cache."""
    ids, view = arrays[f"{case}.input_ids"][0], cases.view(designer, case)
    tokens = bundle.manifest.designer.tokens
    embeddings = np.array(bundle.table("embeddings")[ids])
    if view is not None:
        embeddings[ids == tokens.image_pad] = backend.to_host(view.embeddings)
    positions, _ = position_ids(ids, tokens, [] if view is None else [view.grid])
    language = Language(bundle, backend)
    hidden, logits = language.read(language.cache(len(ids)), embeddings, positions, 0)
    return backend.to_host(hidden)[0], logits


@pytest.mark.parametrize("case", ["image_a", "image_b"])
def test_image_embeddings(
    designer: Designer, recording: RecordingBackend, cases: Cases, designer_arrays: Arrays, case: str
) -> None:
    view = cases.view(designer, case)
    assert view is not None
    assert np.abs(recording.to_host(view.embeddings) - designer_arrays[f"{case}.image_embeds"]).max() < HIDDEN_LIMIT


@pytest.mark.parametrize("case", CASES)
def test_hidden_states_and_logits(
    edit_bundle: Bundle,
    designer: Designer,
    recording: RecordingBackend,
    cases: Cases,
    designer_arrays: Arrays,
    case: str,
) -> None:
    hidden, logits = unshared(edit_bundle, designer, recording, cases, case, designer_arrays)
    assert np.abs(hidden - designer_arrays[f"{case}.last_hidden_state"][0]).max() < HIDDEN_LIMIT
    assert np.abs(logits - designer_arrays[f"{case}.logits"][0, -1]).max() < LOGITS_LIMIT


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("penalty", "key"), [(1.0, "greedy_tokens"), (1.05, "greedy_tokens_rp1.05")])
def test_greedy_tokens(
    designer: Designer, cases: Cases, designer_arrays: Arrays, case: str, penalty: float, key: str
) -> None:
    pieces, written = finish(designer.write(cases.whole_turn(case), cases.view(designer, case), 16, penalty))
    assert written.tokens.tolist() == designer_arrays[f"{case}.{key}"].tolist()
    assert not written.ended
    assert "".join(piece.text for piece in pieces) == designer.prompts.decode(written.tokens)
    assert [piece.count for piece in pieces[:16]] == list(range(1, 17))


def test_logits_of_every_decoded_token(designer: Designer, cases: Cases, designer_arrays: Arrays) -> None:
    """With the cache, those of guessed tokens too, against the recorded logits."""
    recorded: list[NDArray[np.float32]] = []
    best = dimrt.designer._best

    def noting(logits: NDArray[np.float32], seen: NDArray[np.int64], penalty: float) -> int:
        recorded.append(logits)
        return best(logits, seen, penalty)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dimrt.designer, "_best", noting)
        finish(designer.write(cases.whole_turn("image_b"), cases.view(designer, "image_b"), 16, 1.0))
    assert np.abs(np.stack(recorded) - designer_arrays["image_b.greedy_logits"]).max() < LOGITS_LIMIT


@pytest.mark.parametrize("case", CASES)
def test_shared_prefix_equals_no_sharing(
    edit_bundle: Bundle,
    designer: Designer,
    recording: RecordingBackend,
    cases: Cases,
    designer_arrays: Arrays,
    case: str,
) -> None:
    """Plan turn first, then the condition turn on the same prefix: the rows equal those of one unshared run."""
    turn, view = cases.whole_turn(case), cases.view(designer, case)
    finish(designer.write(turn, view, 4, 1.0))
    recording.runs.clear()
    shared = recording.to_host(designer.condition(cases.turn(turn.ids), view))[0]
    assert [len(feeds["embeddings"][0]) for feeds in recording.feeds("language")] == [turn.condition.stop - turn.shared]
    hidden, _ = unshared(edit_bundle, designer, recording, cases, case, designer_arrays)
    rows = hidden[turn.condition][-edit_bundle.manifest.painter.max_condition :]
    expected = recording.engine("connector").run({"hidden": rows[None]})["condition"][0]
    assert shared.shape == expected.shape
    assert np.abs(shared - expected).max() < 2e-5


def test_the_same_turns_give_the_same_bytes_whatever_came_before(
    edit_bundle: Bundle, recording: RecordingBackend, chain_arrays: Arrays
) -> None:
    vision = edit_bundle.manifest.designer.vision
    picture, other = (
        prepare(chain_arrays[key], vision, condition_size(vision)) for key in ("source_uint8", "source2_uint8")
    )

    def run(designer: Designer) -> tuple[bytes, bytes]:
        view = designer.view(picture)
        tokens = view.grid[0] * view.grid[1]
        _, written = finish(designer.write(designer.prompts.plan_turn("make it red", tokens), view, 12, 1.0))
        condition = designer.condition(designer.prompts.condition_turn("ab", tokens), view)
        return written.tokens.tobytes(), recording.to_host(condition).tobytes()

    used = Designer(edit_bundle, recording)
    view = used.view(other)
    used.condition(used.prompts.condition_turn("something else", view.grid[0] * view.grid[1]), view)
    first = run(used)
    longer = used.write(used.prompts.plan_turn("a longer instruction", 25), used.view(picture), 5, 1.0)
    next(longer)
    longer.close()
    assert run(used) == first == run(Designer(edit_bundle, recording))


def test_cache_grows_with_a_long_plan(designer: Designer, cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, view = cases.whole_turn("image_a"), cases.view(designer, "image_a")
    _, expected = finish(designer.write(turn, view, 40, 1.05))
    monkeypatch.setattr("dimrt.designer._PLAN_ROOM", 2)
    monkeypatch.setattr("dimrt.language.CACHE_STEP", 8)
    _, grown = finish(designer.write(turn, view, 40, 1.05))
    assert len(grown.tokens) == 40
    assert np.array_equal(grown.tokens, expected.tokens)


def test_long_turns_are_read_in_pieces(
    edit_bundle: Bundle, designer: Designer, recording: RecordingBackend, cases: Cases, designer_arrays: Arrays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("dimrt.language.PREFILL_ROWS", 20)
    hidden, logits = unshared(edit_bundle, designer, recording, cases, "image_a", designer_arrays)
    assert len(recording.feeds("language")) == 5
    assert np.abs(hidden - designer_arrays["image_a.last_hidden_state"][0]).max() < HIDDEN_LIMIT
    assert np.abs(logits - designer_arrays["image_a.logits"][0, -1]).max() < LOGITS_LIMIT


def test_too_long_a_condition_keeps_its_last_rows(
    edit_bundle: Bundle, designer: Designer, recording: RecordingBackend, cases: Cases, chain_arrays: Arrays
) -> None:
    vision = edit_bundle.manifest.designer.vision
    view = designer.view(prepare(chain_arrays["source2_uint8"], vision, condition_size(vision)))
    turn = cases.turn(chain_arrays["edit_long.input_ids"][0])
    assert turn.condition.stop - turn.condition.start == 47
    condition = recording.to_host(designer.condition(turn, view))[0]
    assert condition.shape[0] == edit_bundle.manifest.painter.max_condition == 40
    assert np.abs(condition - chain_arrays["edit_long.caption_embs"][0, 0]).max() < 2e-4


def test_views_are_kept_by_content(designer: Designer, recording: RecordingBackend, edit_bundle: Bundle) -> None:
    vision = edit_bundle.manifest.designer.vision
    pixels = np.full((50, 70, 3), 120, np.uint8)
    first = designer.view(prepare(pixels, vision, condition_size(vision)))
    assert designer.view(prepare(pixels.copy(), vision, condition_size(vision))) is first
    pixels[3, 3] = 0
    assert designer.view(prepare(pixels, vision, condition_size(vision))) is not first
    assert len(recording.feeds("vision")) == 2


def test_stop_token_ends_the_plan(designer: Designer, edit_bundle: Bundle, chain_arrays: Arrays) -> None:
    vision = edit_bundle.manifest.designer.vision
    view = designer.view(prepare(chain_arrays["source_uint8"], vision, condition_size(vision)))
    turn: Turn = designer.prompts.plan_turn("Add a green tree", 25)
    _, written = finish(designer.write(turn, view, 24, 1.0))
    assert written.ended
    assert 0 < len(written.tokens) < 24
    assert not np.isin(written.tokens, edit_bundle.manifest.designer.tokens.stop).any()
