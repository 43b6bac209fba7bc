import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dimrt.export.nano.cases import draw_case
from dimrt.export.nano.designer import designer_facts, load_prompts, token_ids
from dimrt.export.nano.plans import HEADINGS, STYLES
from dimrt.export.nano.tokenizer import HEADING_TOKENS, SPECIALS, VOCABULARY, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path):
    return Tokenizer.from_file(str(tokenizer_path))


@pytest.fixture(scope="module")
def prompts(tokenizer_path):
    return load_prompts(tokenizer_path)[0]


def test_it_has_the_stated_size_and_the_special_tokens(tokenizer, tokenizer_path):
    assert tokenizer.get_vocab_size() == VOCABULARY
    assert [tokenizer.token_to_id(text) for text in SPECIALS] == list(range(len(SPECIALS)))
    tokens = token_ids(tokenizer_path)
    assert tokens.stop == (tokens.im_end, 0) and len({*tokens.stop, tokens.im_start, tokens.image_pad}) == 4


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_comes_back(prompts, text):
    ids = prompts.encode(text)
    assert prompts.decode(ids) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "naïve café 你好 🎨", "<|im_start|>user", "a\x00b\t\u2028", "\U0010ffff"]
)
def test_odd_text_comes_back_and_makes_no_special_token(prompts, text):
    ids = prompts.encode(text)
    assert prompts.decode(ids) == text
    assert not set(ids.tolist()) & set(range(len(SPECIALS)))


def test_plans_are_short_and_come_back(prompts):
    plans = [draw_case("held-out", 0, index).plan.text() for index in range(60)]
    lengths = [len(prompts.encode(plan)) for plan in plans]
    assert [prompts.decode(prompts.encode(plan)) for plan in plans] == plans
    assert sum(lengths) / len(lengths) < 60 and max(lengths) < 150


@pytest.mark.parametrize("style", STYLES)
def test_a_heading_is_one_token(prompts, style):
    ids = prompts.encode(draw_case("held-out", 0, 1).plan.text(style)).tolist()
    headings = [int(prompts.encode(heading)[0]) for heading in HEADING_TOKENS]
    assert [id for id in ids if id in headings] == [
        int(prompts.encode(HEADINGS[section] if place == 0 else f"\n{HEADINGS[section]}")[0])
        for place, section in enumerate(STYLES[style])
    ]


def test_an_existing_file_is_kept(tokenizer_path):
    before = tokenizer_path.stat().st_mtime_ns
    load_tokenizer(tokenizer_path)
    assert tokenizer_path.stat().st_mtime_ns == before


def test_the_request_leaves_room_for_long_instructions(prompts, tokenizer_path):
    facts = designer_facts(tokenizer_path)
    turn = prompts.plan_turn("make it sepia " * 40, 16)
    assert len(turn.ids) + facts.decoding.max_new_tokens < facts.language.max_positions
