"""The training loop: exact resume, several processes, several players, and how it stops."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from loop_training import Duel, Line, Points, losses, run_two, settings, train_and_die
from torch import Tensor

from dimrt.errors import Cancelled, CheckFailed, InputError
from dimrt.export.train.checkpoint import States
from dimrt.export.train.hooks import Hooks, TrainEvent
from dimrt.export.train.loop import train
from dimrt.export.train.settings import OptimizerSettings


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path: Path, optimizer: str):
    chosen = settings(accumulate=2, optimizer={"painter": OptimizerSettings(name=optimizer, rate=5e-3)})
    whole, first, second = Line(), Line(), Line()
    train(whole, Points(), chosen, tmp_path / "whole")
    train(first, Points(), chosen, tmp_path / "parts", until=7)
    train(second, Points(), chosen, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 12
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_run_that_was_killed_goes_on_from_its_last_state(tmp_path: Path):
    train(Line(), Points(), settings(), tmp_path / "whole")
    process = torch.multiprocessing.get_context("spawn").Process(target=train_and_die, args=(tmp_path / "killed",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert States(tmp_path / "killed", 2).steps() == [3, 6]
    assert max(losses(tmp_path / "killed")) == 8
    train(Line(), Points(), settings(), tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_training_lowers_the_loss_and_leaves_the_averages(tmp_path: Path):
    exported: dict[str, Tensor] = {}

    def export(_folder: Path, parameters: Mapping[str, Tensor]) -> None:
        exported.update(parameters)

    objective = Line()
    train(objective, Points(), settings(steps=60), tmp_path, Hooks(export=export))
    found = losses(tmp_path)
    assert sum(found[step] for step in range(51, 61)) < 0.6 * sum(found[step] for step in range(1, 11))
    state = States(tmp_path, 2).load()
    assert state is not None
    for name, value in objective.named_parameters():
        assert torch.equal(value, state["average"][name])
        assert torch.equal(value, exported[name])
    assert not torch.equal(state["average"]["net.0.weight"], state["parameters"]["net.0.weight"])


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Line]:
    """A run of one process that accumulates two parts, and its result."""
    folder, objective = tmp_path_factory.mktemp("one"), Line()
    train(objective, Points(), settings(accumulate=2), folder)
    return folder, objective


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of runs of two processes."""
    folder = tmp_path_factory.mktemp("two")
    train(Line(), Points(), settings(accumulate=2), folder / "begun by one", until=5)
    run_two(folder)
    return folder


def test_two_processes_equal_one_that_accumulates_two_parts(one: tuple[Path, Line], two: Path):
    both = losses(two / "plain")
    for step, loss in losses(one[0]).items():
        assert both[step] == pytest.approx(loss, rel=1e-5)
    result = torch.load(two / "plain" / "result.pt")
    for name, value in one[1].state_dict().items():
        torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-6)


def test_a_run_may_go_on_with_another_number_of_processes(one: tuple[Path, Line], two: Path):
    found = losses(two / "begun by one")
    for step, loss in losses(one[0]).items():
        assert found[step] == pytest.approx(loss, rel=1e-5)


def test_split_parameters_train_and_resume_like_whole_ones(one: tuple[Path, Line], two: Path):
    assert len(list(two.glob("split/state/step-00000007/process-*.pt"))) == 2
    assert not (two / "split" / "result-7.pt").exists()
    result = torch.load(two / "split" / "result-None.pt")
    for name, value in one[1].state_dict().items():
        torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-6)
    sampled = torch.load(two / "split" / "samples" / "step-000012.pt")
    with torch.no_grad():
        torch.testing.assert_close(sampled, one[1].net(Points().source[:1].flatten(1)), rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="2 process"):
        train(Line(), Points(), settings(), two / "split")


def test_split_parameters_are_cast_to_half_precision_and_kept_whole(one: tuple[Path, Line], two: Path):
    half, whole = losses(two / "half"), losses(one[0])
    assert half != losses(two / "split")
    assert half[12] == pytest.approx(whole[12], rel=0.1)
    result = torch.load(two / "half" / "result-None.pt")
    assert {value.dtype for value in result.values()} == {torch.float32}


def test_two_processes_train_two_players(two: Path, tmp_path: Path):
    train(Duel(), Points(), settings(accumulate=2), tmp_path)
    for player in ("student", "critic"):
        both = losses(two / "duel", player)
        for step, loss in losses(tmp_path, player).items():
            assert both[step] == pytest.approx(loss, rel=1e-4)


def test_players_take_turns_with_optimizers_of_their_own(tmp_path: Path):
    objective = Duel()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    train(objective, Points(), settings(steps=1, average=0), tmp_path / "one")
    after = objective.state_dict()
    assert not torch.equal(after["student.weight"], before["student.weight"])
    assert torch.equal(after["critic.weight"], before["critic.weight"])
    train(objective, Points(), settings(steps=6, average=0), tmp_path / "six")
    assert not torch.equal(objective.state_dict()["critic.weight"], before["critic.weight"])
    assert sorted(losses(tmp_path / "six", "critic")) == [2, 4, 6]
    assert all(parameter.requires_grad for parameter in objective.parameters())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_examples(tmp_path: Path):
    with pytest.raises(CheckFailed, match=r"point-(5|6)\b") as caught:
        train(Line(), Points(broken=[5, 6]), settings(accumulate=4), tmp_path)
    step = States(tmp_path, 2).steps()[-1]
    assert f"step {step}:" in str(caught.value)
    state = States(tmp_path, 2).load()
    assert state is not None
    assert all(value.isfinite().all() for value in state["parameters"].values())


def test_an_interrupted_run_saves_its_state_and_goes_on(tmp_path: Path):
    def interrupt(event: TrainEvent) -> None:
        if event.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Cancelled, match="step 4"):
        train(Line(), Points(), settings(), tmp_path, Hooks(on_event=interrupt))
    assert States(tmp_path, 2).steps() == [4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(Line(), Points(), settings(), tmp_path)
    assert max(losses(tmp_path)) == 12


def test_samples_and_exports_see_the_averages_and_training_does_not(tmp_path: Path):
    objective, seen = Line(), []

    def sample(step: int, path: Path) -> None:
        assert not objective.training
        path.write_bytes(b"picture")
        seen.append((step, objective.net[0].weight.detach().clone()))

    chosen = settings(sample_every=5)
    train(objective, Points(), chosen, tmp_path / "seen", Hooks(sample=sample))
    train(Line(), Points(), settings(), tmp_path / "unseen")
    assert [step for step, _ in seen] == [5, 10, 12]
    assert torch.equal(seen[-1][1], objective.net[0].weight)
    assert sorted(path.name for path in (tmp_path / "seen" / "samples").iterdir()) == [
        "step-000005.png",
        "step-000010.png",
        "step-000012.png",
    ]
    assert losses(tmp_path / "seen") == losses(tmp_path / "unseen")


def test_a_folder_of_another_model_is_refused(tmp_path: Path):
    train(Duel(), Points(), settings(steps=1), tmp_path)
    with pytest.raises(InputError, match="another model"):
        train(Line(), Points(), settings(), tmp_path)


def test_a_batch_that_cannot_be_split_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"batch = 8 .* multiple of 3"):
        train(Line(), Points(), settings(accumulate=3), tmp_path)


def test_bfloat16_computes_in_half_precision_and_keeps_whole_parameters(tmp_path: Path):
    objective = Line()
    train(objective, Points(), settings(precision="bf16"), tmp_path)
    assert objective.net[0].weight.dtype == torch.float32
    train(Line(), Points(), settings(), tmp_path / "whole")
    half, whole = losses(tmp_path), losses(tmp_path / "whole")
    assert half != whole
    assert half[12] == pytest.approx(whole[12], rel=0.1)
