"""The waits that the latency measurement reports are those of the edit it ran."""

import pytest
from latency import INSTRUCTIONS, MARKS, PHOTO, one_round, summary

from dimrt.editor import Editor
from dimrt.options import EditOptions


@pytest.mark.parametrize("number", [0, 1])
def test_a_round_reaches_every_mark_in_order(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    editor = Editor.load(device="cpu", threads=1)
    asked: list[str] = []
    events = editor.events

    def told(image: object, instruction: str, options: EditOptions) -> object:
        asked.append(instruction)
        return events(image, instruction, options)  # type: ignore[arg-type]

    monkeypatch.setattr(editor, "events", told)
    marks = one_round(editor, PHOTO.read_bytes(), number, EditOptions(steps=1, guidance_scale=1.0, previews=True))
    for which in ("first", "second"):
        assert list(marks[which]) == list(MARKS)
        assert list(marks[which].values()) == sorted(marks[which].values())
    assert sorted(asked) == sorted(INSTRUCTIONS) and asked[0] == INSTRUCTIONS[number]


def test_second_against_first_is_a_median_of_rounds() -> None:
    rounds = [
        {"first": dict.fromkeys(MARKS, first), "second": dict.fromkeys(MARKS, second)}
        for first, second in ((1.0, 0.5), (2.0, 0.2), (4.0, 3.0))
    ]
    rows = summary(rounds)
    assert rows["first"]["word"] == 2.0 and rows["second"]["word"] == 0.5
    assert rows["second to first"]["result"] == 0.5
