"""`dimrt build` and `dimrt engines`: real builds of the smallest graph, what the cache holds, mistakes."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cli_harness import Dimrt, start

from dimrt.engines.cache import EngineCache
from dimrt.errors import ResourceError

BUILD = ("build", "nano", "--graph", "connector", "--target", "rtx-4060")

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx isn't installed")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    """An engine cache of one's own, named by the environment."""
    monkeypatch.setenv("DIMRT_ENGINES", str(tmp_path / "engines-here"))
    return EngineCache()


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has none."""

    def detect() -> None:
        raise ResourceError("no NVIDIA driver found")

    monkeypatch.setattr("dimrt.engines.device.detect", detect)


@needs_rtx
def test_build_list_inspect_remove(dimrt: Dimrt, cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    outcome = dimrt(*BUILD, "--json")
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.document["cache"] == str(cache.root)
    (engine,) = outcome.document["engines"]
    assert (engine["graph"], engine["compute_capabilities"], engine["target"]) == ("connector", ["8.9"], "rtx-4060")
    key = engine["key"]

    again = dimrt(*BUILD)
    assert again.code == 0 and "in the cache" in again.err and again.out == ""

    listed = dimrt("engines", "ls")
    assert key in listed.out and "dimrt-nano fp16" in listed.out and "stale" not in listed.out
    assert dimrt("engines").out == listed.out
    document = dimrt("engines", "ls", "--json").document
    assert [entry["stale"] for entry in document["engines"]] == [None]
    assert document["bytes"] >= engine["plan_bytes"]

    shown = dimrt("engines", "inspect", key[:6])
    assert shown.code == 0 and "condition" in shown.out and "rows 1..256" in shown.out
    assert dimrt("engines", "inspect", key, "--json").document["intact"] is True

    assert dimrt("engines", "rm", "--stale").out.startswith("removed 0 engines")
    assert dimrt("engines", "rm", key[:8]).out.startswith("removed 1 engines")
    assert cache.entries() == []


@needs_rtx
def test_several_targets_share_one_engine(dimrt: Dimrt, cache: EngineCache) -> None:
    outcome = dimrt(*BUILD, "--target", "rtx-5090", "--target", "rtx-3060", "--json", "-q")
    (engine,) = outcome.document["engines"]
    assert engine["compute_capabilities"] == ["8.6", "8.9", "12.0"]


@needs_rtx
def test_an_altered_engine_is_reported_and_removed_as_damaged(
    dimrt: Dimrt, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpu(monkeypatch)
    (engine,) = dimrt(*BUILD, "--json").document["engines"]
    plan = cache.root / "engines" / engine["key"] / "plan"
    content = bytearray(plan.read_bytes())
    content[100] ^= 1
    plan.write_bytes(content)
    outcome = dimrt("engines", "inspect", engine["key"])
    assert outcome.code == 1 and "altered since it was built" in outcome.err
    plan.write_bytes(content[:-5])
    assert "stale: plan has" in dimrt("engines", "ls").out
    assert dimrt("engines", "inspect", engine["key"]).code == 1
    assert dimrt("engines", "rm", "--stale").out.startswith("removed 1 engines")
    assert cache.entries() == []


@needs_rtx
def test_engines_of_another_version_or_gpu_are_stale(
    dimrt: Dimrt, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dimrt.engines.record import Device

    dimrt(*BUILD, "-q")
    card = Device("NVIDIA GeForce RTX 3060", "8.6", "13000", 12 << 30)
    monkeypatch.setattr("dimrt.engines.device.detect", lambda: card)
    assert "stale: built for compute capability 8.9, this GPU has 8.6" in dimrt("engines", "ls").out
    without_gpu(monkeypatch)
    monkeypatch.setattr("tensorrt_rtx.__version__", "9.9")
    listed = dimrt("engines", "ls", "--json").document["engines"]
    assert "this is 9.9" in listed[0]["stale"]
    assert dimrt("engines", "rm", "--all").out.startswith("removed 1 engines")


def test_without_target_or_gpu_it_says_what_can_be_built(
    dimrt: Dimrt, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpu(monkeypatch)
    outcome = dimrt("build", "nano")
    assert outcome.code == 3 and "no --target given and no GPU" in outcome.err
    if find_spec("tensorrt_rtx"):
        assert "rtx-3060, rtx-4060, rtx-4090, rtx-5090" in outcome.err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("build", "nano", "--target", "rtx-4061"), 2, "rtx-4060"),
        (("build", "nano", "--target", "cpu"), 2, "needs no engines"),
        (("build", "nowhere", "--target", "rtx-4060"), 2, "unknown bundle 'nowhere'"),
        (("build", "nano", "--target", "none.toml"), 2, "No such file"),
        (("engines", "rm"), 2, "--stale"),
        (("engines", "rm", "abc", "--all"), 2, "--stale"),
        (("engines", "rm", "abc"), 2, "no engine has a key that begins with 'abc'"),
        (("engines", "inspect", "abc"), 2, "dimrt engines ls"),
        (("engines", "--json", "rm"), 2, "Options stand after `rm`"),
        (("engines", "polish"), 2, "No such command 'polish'"),
    ],
)
def test_mistakes(dimrt: Dimrt, cache: EngineCache, args: tuple[str, ...], code: int, said: str) -> None:
    outcome = dimrt(*args)
    assert outcome.code == code
    assert said in outcome.err + outcome.out
    assert "Traceback" not in outcome.err


@needs_rtx
def test_an_unknown_graph_is_a_mistake(dimrt: Dimrt, cache: EngineCache) -> None:
    outcome = dimrt("build", "nano", "--target", "rtx-4060", "--graph", "steps")
    assert outcome.code == 2 and "has no graph 'steps'" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_cache_that_others_may_write_to_is_refused(dimrt: Dimrt, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    outcome = dimrt("engines", "ls", "--cache", str(shared))
    assert outcome.code == 2 and "chmod 700" in outcome.err


@needs_rtx
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_in_the_middle_leaves_nothing_half_built(cache: EngineCache) -> None:
    import signal
    import subprocess

    words = ("build", "nano", "--target", "rtx-4060", "--graph", "connector", "--graph", "step")
    with start(*words, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"connector"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130 and b"cancelled" in rest
    assert [entry.record is not None for entry in cache.entries()] == [True]
    assert len(list((cache.root / "engines").iterdir())) == 1
