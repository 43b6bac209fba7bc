"""Guessed tokens: what is guessed, that plans are the same without guesses, and that rows come out the same."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.cores import Threads
from dimrt.backends.onnxruntime import OrtBackend, session_options
from dimrt.bundle import NANO, Bundle
from dimrt.drafts import CONTEXT, KEPT, MOST, Drafts
from dimrt.editor import Editor
from dimrt.language import Language
from dimrt.options import EditOptions
from dimrt.result import EditResult, Writing
from dimrt.rope import text_positions

PHOTOS = Path(__file__).parents[2] / "benchmarks" / "photos"
PLAN_ONLY = EditOptions(composite="none")


def ids(text: str) -> NDArray[np.int64]:
    return np.array([ord(letter) for letter in text], np.int64)


def guessed(drafts: Drafts) -> str:
    return "".join(map(chr, drafts.guess()))


def test_what_followed_before_is_guessed() -> None:
    drafts = Drafts()
    drafts.begin(ids("remove the red car. remove the re"))
    assert "d car. "[:MOST].startswith(guessed(drafts))
    assert len(guessed(drafts)) > 2


def test_earlier_plans_help_and_the_longest_context_decides() -> None:
    drafts = Drafts()
    drafts.begin(ids("x"))
    drafts.keep(ids("cat: stays, dog: goes, cow: goes"))
    drafts.begin(ids("cat:"))
    assert guessed(drafts).startswith(" stays")
    drafts.begin(ids("pig:"))
    assert guessed(drafts).startswith(" goes")


def test_the_majority_decides() -> None:
    drafts = Drafts()
    drafts.begin(ids("ab ac ab ab ac a"))
    assert guessed(drafts)[0] == "b"


def test_nothing_known_is_still_one_guess() -> None:
    drafts = Drafts()
    drafts.begin(ids("abc"))
    assert guessed(drafts) == "c"


def test_only_the_newest_plans_are_kept() -> None:
    drafts = Drafts()
    drafts.keep(ids("qz"))
    drafts.keep(np.zeros(KEPT, np.int64))
    drafts.begin(ids("q"))
    assert guessed(drafts) == "q"


@given(st.text("abc", min_size=1, max_size=60), st.lists(st.text("abc", max_size=40), max_size=3))
def test_every_first_guess_followed_its_context_somewhere(text: str, plans: list[str]) -> None:
    drafts = Drafts()
    for plan in plans:
        drafts.keep(ids(plan))
    drafts.begin(ids(text[:1]))
    for letter in text[1:]:
        drafts.add(ord(letter))
    everything = "".join(plans) + text
    guesses = guessed(drafts)
    assert 1 <= len(guesses) <= MOST
    followed = [length for length in range(1, CONTEXT + 1) if everything[-length:] in everything[:-1]]
    if followed:
        assert everything[-followed[-1] :] + guesses in everything
    else:
        assert guesses == text[-1]


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return Bundle.open(NANO)


def edits(nano: Bundle, steady: bool) -> list[EditResult]:
    backend = OrtBackend(nano, threads=1)
    backend.steady_rows = steady
    editor = Editor(nano, backend)
    wishes = (("chelsea", "make it warmer"), ("coffee", "make it cooler"), ("chelsea", "make it warmer"))
    return [editor.edit(PHOTOS / f"{name}.jpg", wish, PLAN_ONLY) for name, wish in wishes]


def test_guesses_change_the_runs_and_nothing_else(nano: Bundle) -> None:
    plain, fast = edits(nano, steady=False), edits(nano, steady=True)
    for one, other in zip(plain, fast, strict=True):
        assert one.blueprint == other.blueprint
        assert np.array_equal(one.painted, other.painted)
    assert [result.writing for result in plain] == [Writing(tokens, tokens) for tokens in tokens_of(fast)]
    assert all(result.writing is not None and result.writing.passes < result.writing.tokens for result in fast[1:])
    assert fast[2].writing is not None
    assert fast[2].writing.passes <= 1 + -(-fast[2].writing.tokens // 3)


def tokens_of(results: list[EditResult]) -> list[int]:
    return [result.writing.tokens for result in results if result.writing is not None]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["nano", "tiny_edit_bundle", "tiny_cpu_bundle"])
def test_a_row_is_the_same_whatever_is_read_with_it(request: pytest.FixtureRequest, name: str, threads: int) -> None:
    """What `steady_rows` says of the processor: to the bit, for every number of rows from two on."""
    found = request.getfixturevalue(name)
    bundle = found if isinstance(found, Bundle) else Bundle.open(found)
    backend = OrtBackend(bundle, threads=threads)
    assert backend.steady_rows
    language = Language(bundle, backend)
    table = bundle.table("embeddings")
    random = np.random.default_rng(7)
    tokens = random.integers(0, len(table), 60)

    def read(rows: int, behind: int) -> NDArray[np.float32]:
        """Logits of token 40 read with `rows` - 1 others behind it, which differ by `behind`."""
        cache = language.cache(64)
        words = np.array(table[np.concatenate([tokens[:41], (tokens[41 : 40 + rows] + behind) % len(table)])])
        language.read(cache, words[:40], text_positions(0, 40, 0), 0)
        _, logits = language.read(cache, words[40:], text_positions(40, rows, 0), 40, asked=rows)
        return logits[0]

    expected = read(2, 0)
    for rows in range(2, MOST + 2):
        for behind in (0, 5):
            assert np.array_equal(read(rows, behind), expected), (rows, behind)


def test_an_even_number_of_rows_is_run(nano: Bundle) -> None:
    recording = RecordingBackend(OrtBackend(nano, threads=1))
    Editor(nano, recording).edit(PHOTOS / "coffee.jpg", "make it cooler", PLAN_ONLY)
    counts = [feeds["embeddings"].shape[1] for feeds in recording.feeds("language")]
    checked = [count for count in counts if count <= MOST + 1]
    assert checked
    assert not any(count % 2 for count in checked)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits", [4, 8])
def test_rows_of_quantized_products_come_out_the_same_in_pairs(bits: int, threads: int) -> None:
    """As the recipes write them: int8 with a scale a channel, int4 with a scale a channel and 128 rows."""
    model = quantized_product(bits, rows=512, columns=96)
    session = ort.InferenceSession(model, session_options(Threads(threads)), providers=["CPUExecutionProvider"])
    values = np.random.default_rng(3).standard_normal((MOST + 1, 512), np.float32)
    expected = session.run(None, {"x": values})[0]
    for rows in range(2, MOST + 1, 2):
        for first in range(0, MOST + 1 - rows, 2):
            piece = slice(first, first + rows)
            assert np.array_equal(session.run(None, {"x": values[piece]})[0], expected[piece]), (rows, first)


def quantized_product(bits: int, rows: int, columns: int) -> bytes:
    """x @ DequantizeLinear(weights)."""
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    random = np.random.default_rng(bits)
    values = random.integers(-7, 8, (rows, columns), np.int8)
    scales = random.uniform(0.5, 1.5, columns if bits == 8 else (rows // 128, columns)).astype(np.float32)
    form = {"axis": 1} if bits == 8 else {"axis": 0, "block_size": 128}
    nodes = [
        make.make_node("DequantizeLinear", ["weights", "scales"], ["w"], **form),
        make.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = make.make_tensor(
        "weights", kinds.INT8 if bits == 8 else kinds.INT4, values.shape, values.flatten().tolist()
    )
    graph = make.make_graph(
        nodes,
        "product",
        [make.make_tensor_value_info("x", kinds.FLOAT, ["n", rows])],
        [make.make_tensor_value_info("y", kinds.FLOAT, ["n", columns])],
        [weights, onnx.numpy_helper.from_array(scales, "scales")],
    )
    opsets = [make.make_opsetid("", 24)]
    return bytes(make.make_model(graph, opset_imports=opsets, ir_version=11).SerializeToString())
