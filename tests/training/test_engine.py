"""The training loop: schedules, batches, resume to the bit, damaged checkpoints."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from foundry_edge.training.compute import Compute
from foundry_edge.training.engine import LogRow, Step, batch_index, train
from foundry_edge.training.schedule import warmup_cosine
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError, DataError, StorageError

SETTINGS = TrainSettings(
    steps=6, batch=4, precision="32-true", accelerator="cpu", checkpoint_every=3, log_every=2
)


class Regression(nn.Module):
    """A noisy regression that uses the step's generator, as augmentation does."""

    def __init__(self, stop_at: int = 1000) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 4)
        self.stop_at = stop_at
        self.data = torch.randn(16, 4)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        if step.number == self.stop_at:
            raise KeyboardInterrupt
        noise = torch.randn(len(step.index), 4, generator=step.generator)
        return (self.layer(self.data[step.index] + noise) - 1).pow(2).mean(), {}

    def after_step(self, step: Step) -> None:
        """Nothing."""


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    unbroken, broken, resumed = Regression(), Regression(stop_at=5), Regression()
    train(unbroken, unbroken, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    with pytest.raises(KeyboardInterrupt):
        train(broken, broken, 16, SETTINGS, tmp_path / "b.pt", lambda row: None)
    rows: list[LogRow] = []
    train(resumed, resumed, 16, SETTINGS, tmp_path / "b.pt", rows.append, resume=True)
    assert torch.equal(unbroken.layer.weight, resumed.layer.weight)
    assert [row.step for row in rows] == [4, 6]


def test_without_resume_a_checkpoint_is_ignored(tmp_path: Path) -> None:
    first, second = Regression(), Regression()
    train(first, first, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    train(second, second, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    assert torch.equal(first.layer.weight, second.layer.weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    module = Regression()
    train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    other = SETTINGS.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(CheckpointError, match="other settings"):
        train(module, module, 16, other, tmp_path / "a.pt", lambda row: None, resume=True)


def test_a_finished_run_goes_on_with_more_steps(tmp_path: Path) -> None:
    module, rows = Regression(), list[LogRow]()
    train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    longer = SETTINGS.model_copy(update={"steps": 10})
    train(module, module, 16, longer, tmp_path / "a.pt", rows.append, resume=True)
    assert [row.step for row in rows] == [8, 10]


def test_an_unfinished_run_keeps_its_number_of_steps(tmp_path: Path) -> None:
    module = Regression(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    longer = SETTINGS.model_copy(update={"steps": 10})
    with pytest.raises(CheckpointError, match="other settings"):
        train(module, module, 16, longer, tmp_path / "a.pt", lambda row: None, resume=True)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    module = Regression()
    path = tmp_path / "a.pt"
    train(module, module, 16, SETTINGS, path, lambda row: None)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot resume") as caught:
        train(module, module, 16, SETTINGS, path, lambda row: None, resume=True)
    assert "miniz" not in str(caught.value)
    assert len(caught.value.problem) < 140


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    module = Regression()
    module.data.fill_(torch.inf)
    with pytest.raises(DataError, match="step 0"):
        train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)


def test_every_shape_is_drawn_once_an_epoch() -> None:
    for epoch in range(3):
        drawn = torch.cat([batch_index(12, 4, 3 * epoch + i, seed=1) for i in range(3)])
        assert sorted(drawn.tolist()) == list(range(12))
    assert not torch.equal(batch_index(12, 4, 0, seed=1), batch_index(12, 4, 3, seed=1))


def test_small_sets_give_small_batches() -> None:
    assert len(batch_index(3, 64, 7, seed=0)) == 3


def test_learning_rate_rises_then_falls() -> None:
    rates = [warmup_cosine(step, 100, 0.1, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 0.02
    assert rates[10:] == sorted(rates[10:], reverse=True)


class Budgets(Regression):
    """Tells a figure of another budget at every step."""

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        return super().loss(step)[0], {f"loss_s{step.number % 2}": float(step.number)}


def test_a_log_row_has_the_figures_of_all_its_steps(tmp_path: Path) -> None:
    module, rows = Budgets(), list[LogRow]()
    train(module, module, 16, SETTINGS.model_copy(update={"log_every": 4}), tmp_path / "a.pt", rows.append)
    assert [row.figures for row in rows] == [
        {"loss_s0": 1.0, "loss_s1": 2.0},
        {"loss_s0": 4.0, "loss_s1": 5.0},
    ]


def test_precision_follows_the_device_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags: avx2")
    assert TrainSettings(accelerator="cpu").compute == Compute()
    assert TrainSettings().compute == Compute(torch.device("cuda", 1), bf16=True)
    assert TrainSettings(precision="32-true").compute.bf16 is False


class Signalled(Regression):
    """A signal comes in the middle of a step."""

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        if step.number == 3:
            signal.raise_signal(signal.SIGINT)
        return super().loss(step)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_the_steps_that_are_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_every": 100})
    unbroken, broken, resumed = Regression(), Signalled(), Regression()
    train(unbroken, unbroken, 16, settings, tmp_path / "a.pt", lambda row: None)
    with pytest.raises(KeyboardInterrupt):
        train(broken, broken, 16, settings, tmp_path / "b.pt", lambda row: None)
    assert f"interrupted: 4 of 6 steps are kept in {tmp_path / 'b.pt'}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(resumed, resumed, 16, settings, tmp_path / "b.pt", lambda row: None, resume=True)
    assert torch.equal(unbroken.layer.weight, resumed.layer.weight)


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    module, settings = Regression(), SETTINGS.model_copy(update={"learning_rate": 1e40, "steps": 1})
    with pytest.raises(DataError, match=r"layer\.weight is not finite after step 1; lower --learning-rate"):
        train(module, module, 16, settings, tmp_path / "a.pt", lambda row: None)
    assert not (tmp_path / "a.pt").exists()


def test_a_full_disk_is_told_and_leaves_the_checkpoint_that_is_there(tmp_path: Path) -> None:
    module = Regression()
    train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    before = (tmp_path / "a.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"a\.pt: cannot be written"):
            train(module, module, 16, SETTINGS, tmp_path / "a.pt", lambda row: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a.pt").read_bytes() == before
