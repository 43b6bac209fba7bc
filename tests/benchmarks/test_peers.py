"""The comparison with peers: the driver with stand-in sides, the ratios, and what an installation would run."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from peers import install
from peers.driver import Pace, SideFailed, Start, Turns, Worker, take_turns
from peers.ratios import same_tensors, same_tokens, table
from peers.record import Case, lines, record, without_compiled, without_folders

HERE = Path(__file__).parent
PACE = Pace(rounds=3, warm_up=1, settle_s=0, load_s=20, run_s=20)


@pytest.fixture
def stand_in() -> Start:
    """A side that is a stand-in; it finds the protocol where real sides do."""
    separator = ";" if sys.platform == "win32" else ":"
    paths = separator.join(map(str, (HERE, HERE.parents[1] / "benchmarks")))
    return Start(sys.executable, "stand_in_side", {"PYTHONPATH": paths})


def tasks(tmp_path: Path, **sides: dict) -> dict:
    usual = {"threads": 1, "seconds": 1.0, "tensor": [3.0, 4.0], "order": str(tmp_path / "order")}
    return {name: usual | {"name": name} | task for name, task in sides.items()}


def turns_of(stand_in: Start, tmp_path: Path, pace: Pace = PACE, **sides: dict) -> Turns:
    return take_turns(dict.fromkeys(sides, stand_in), tasks(tmp_path, **sides), pace, tmp_path)


def test_sides_take_turns_and_each_is_first_in_some_round(stand_in: Start, tmp_path: Path):
    turns = turns_of(stand_in, tmp_path, a={}, b={"seconds": 2.0}, c={})
    assert (tmp_path / "order").read_text() == "abc" + "abc" + "bca" + "cab"  # the first run of each isn't counted
    assert [run["seconds"]["run"] for run in turns.runs["b"]] == [2.0] * 3
    assert turns.facts["a"] == {"threads": 1} and not turns.failed
    assert np.load(turns.kept["c"]).tolist() == [3, 4]


def test_what_fails_is_reported_and_the_others_go_on(stand_in: Start, tmp_path: Path):
    turns = turns_of(
        stand_in, tmp_path, a={}, refusing={"refuses": "no rule for this operation"}, dying={"dies_in": 2}, b={}
    )
    assert turns.failed["refusing"] == "ValueError: no rule for this operation"
    assert "ended with code 3" in turns.failed["dying"] and "out of luck" in turns.failed["dying"]
    assert len(turns.runs["a"]) == len(turns.runs["b"]) == 3
    assert "refusing" not in turns.runs and turns.runs["dying"] == []


def test_a_side_that_hangs_is_ended(stand_in: Start, tmp_path: Path):
    pace = Pace(rounds=2, warm_up=0, settle_s=0, load_s=20, run_s=1)
    turns = turns_of(stand_in, tmp_path, pace, a={}, hanging={"hangs_in": 2})
    assert turns.failed == {"hanging": "no answer to 'run' within 1 s; ended"}
    assert len(turns.runs["hanging"]) == 1 and len(turns.runs["a"]) == 2


def test_a_side_that_is_not_installed_says_what_to_do(tmp_path: Path):
    missing = Start(str(tmp_path / "no" / "python"), "stand_in_side")
    turns = take_turns({"gone": missing}, {"gone": {}}, PACE, tmp_path)
    assert "install.py" in turns.failed["gone"]


def test_an_error_leaves_the_process_answering(stand_in: Start, tmp_path: Path):
    worker = Worker("a", stand_in, tmp_path / "log")
    with pytest.raises(SideFailed, match="nothing is loaded"):
        worker.ask(20, ask="run")
    assert worker.ask(20, ask="load", task=tasks(tmp_path, a={})["a"]) == {"threads": 1}
    worker.end()


def test_ratios_are_of_one_round():
    runs = {
        "dimrt": [{"seconds": {"read": 1.0, "write": 2.0}}, {"seconds": {"read": 4.0, "write": 2.0}}],
        "peer": [{"seconds": {"read": 3.0, "write": 1.0}}, {"seconds": {"read": 4.0, "write": 1.0}}],
    }
    measured = table(runs)
    assert measured["sides"]["dimrt"]["read"] == {"median_s": 2.5, "min_s": 1.0, "rounds_s": [1.0, 4.0]}
    assert measured["times_as_fast_as"] == {
        "peer": {
            "read": {"median": 2.0, "least": 1.0, "most": 3.0},
            "write": {"median": 0.5, "least": 0.5, "most": 0.5},
        }
    }


def test_a_part_that_dimrt_lacks_has_no_ratio_and_without_dimrt_there_is_none():
    assert table({"dimrt": [{"seconds": {"run": 1.0}}], "peer": [{"seconds": {"other": 1.0}}]})["times_as_fast_as"] == {
        "peer": {}
    }
    assert table({"peer": [{"seconds": {"run": 1.0}}]})["times_as_fast_as"] == {}


def test_the_base_of_the_ratios_can_be_another_side():
    runs = {name: [{"seconds": {"edit": seconds}}] for name, seconds in (("dimrt", 2.0), ("a", 1.0), ("b", 8.0))}
    ratios = table(runs, "a")["times_as_fast_as"]
    assert {side: parts["edit"]["median"] for side, parts in ratios.items()} == {"dimrt": 2.0, "b": 8.0}


def test_a_peer_that_writes_other_tokens_is_told():
    runs = {"dimrt": [{"tokens": [1, 2, 3]}], "same": [{"tokens": [1, 2, 3]}], "other": [{"tokens": [1, 5, 3]}]}
    assert same_tokens(runs) == {
        "same": {"equal": True, "first_equal": 3, "of": 3},
        "other": {"equal": False, "first_equal": 1, "of": 3},
    }


def test_a_peer_that_computes_another_tensor_is_told():
    ours = np.array([3.0, 4.0], np.float32)
    rows = same_tensors({"dimrt": ours, "near": ours * np.float32(1.0001), "far": ours * 2, "odd": ours[:1]})
    assert rows["near"]["equal"] and rows["far"] == {"equal": False, "relative_difference": 1.0}
    assert rows["odd"] == {"equal": False, "shape": [1], "expected": [2]}


@pytest.mark.parametrize("peer", install.PEERS)
def test_every_package_of_a_peer_is_pinned(peer: str):
    lines = (install.REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_a_peer_compiled_here_is_installed_from_its_source(tmp_path: Path):
    python = install.interpreter(tmp_path, "llama_cpp")
    assert python.is_relative_to(tmp_path / "llama_cpp")
    (plain,), (compiled,) = (install.commands("llama_cpp", python, source) for source in (False, True))
    assert compiled == [*plain, "--no-binary", "xllamacpp"]
    assert install.commands("openvino", python, False)[1][-2:] == ["--yes", "torchvision"]


def test_the_record_does_not_tell_where_things_lie(tmp_path: Path):
    told = {"failed": {"a": f"no {tmp_path / 'x'}"}, "list": [str(tmp_path), 3, None]}
    assert without_folders(told, (tmp_path,)) == {
        "failed": {"a": f"no {tmp_path.name}{os.sep}x"},
        "list": [tmp_path.name, 3, None],
    }


def test_compiled_sides_left_out_are_said_to_be():
    start = Start("python", "side")
    case = Case("a", {"torch eager": start, "torch compiled": start}, {}, {"llama": "why"}, {})
    left = without_compiled(case)
    assert list(left.starts) == ["torch eager"]
    assert left.left_out == {"llama": "why", "torch compiled": "--no-compile"}


def test_a_side_that_never_finished_a_round_is_in_the_record_with_its_reason(tmp_path: Path):
    done = {"seconds": {"run": 1.0}, "tokens": [1]}
    turns = Turns(runs={"dimrt": [done], "dead": []}, failed={"dead": "its process ended"})
    row = record(Case("a", {}, {}, {}, {"threads": 1}), turns)
    assert row["failed"] == {"dead": "its process ended"} and list(row["sides"]) == ["dimrt"]
    assert "failed: its process ended" in lines(row)
