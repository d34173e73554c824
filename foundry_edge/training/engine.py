"""The training loop of pre-training and distillation: seeds, checkpoints, resume, log.

Randomness of a step depends on (seed, step) alone, so a resumed run repeats what an unbroken one does.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from foundry_edge.data.tensor_cache import save_state
from foundry_edge.training.average import WeightAverage
from foundry_edge.training.claim import CACHE
from foundry_edge.training.interrupt import Interrupt
from foundry_edge.training.processes import (
    Share,
    average_gradients,
    is_main_process,
    launch,
    mean_over_processes,
    wait_for_all,
)
from foundry_edge.training.schedule import warmup_cosine
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError, DataError, first_line
from foundry_edge_runtime.files import replacing, sweep

_DIVERGED = "lower --learning-rate or check the data"


@dataclass(frozen=True)
class Step:
    """One step's inputs to an objective.

    Attributes:
        index: (B,) int64, this process's shapes of the batch.
        generator: source of all randomness of the step, the same in every process.
        number: zero-based.
        progress: 0 at the first step, 1 at the last.
        share: this process's rows of the whole batch; None when it has all of them.
    """

    index: Tensor
    generator: torch.Generator
    number: int
    progress: float
    share: Share | None = None

    def uniform(self, *shape: int) -> Tensor:
        """Draws (B, *shape) in [0, 1): this process's rows of what one process would draw for the batch."""
        if self.share is None:
            return torch.rand(len(self.index), *shape, generator=self.generator)
        return torch.rand(self.share.total, *shape, generator=self.generator)[self.share.rows]


class Objective(Protocol):
    """What is minimised; an nn.Module whose parameters with requires_grad are trained."""

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch and figures for the log."""
        ...

    def after_step(self, step: Step) -> None:
        """Called after each optimiser step (EMA)."""
        ...


@dataclass(frozen=True)
class LogRow:
    """One row of the training log."""

    step: int
    steps: int
    loss: float
    samples_per_s: float
    figures: dict[str, float]


def batch_index(count: int, batch: int, step: int, seed: int) -> Tensor:
    """Indices (B,) of the ``step``-th batch: a fresh permutation of the ``count`` shapes each epoch."""
    batch = min(batch, count)
    per_epoch = max(count // batch, 1)
    epoch, position = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)[position * batch : (position + 1) * batch]


def train(
    module: nn.Module,
    objective: Objective,
    count: int,
    settings: TrainSettings,
    checkpoint: Path,
    on_log: Callable[[LogRow], None],
    resume: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Minimise ``objective`` over the trainable parameters of ``module`` (in place).

    Args:
        module: holds everything that must be in a checkpoint (EMA copies included).
        objective: usually ``module`` itself.
        count: number of shapes to draw batches from.
        settings: optimisation settings.
        checkpoint: file written atomically every ``settings.checkpoint_every`` steps.
        on_log: called every ``settings.log_every`` steps.
        resume: continue from ``checkpoint`` if it exists. A finished run goes on when ``settings.steps`` has
            grown; its rate then follows the longer schedule from that step on.
        on_start: called in the main process before the first step, once the checkpoint is accepted.

    Raises:
        CheckpointError: the checkpoint is damaged or of another run.
        DataError: the loss or a weight is not finite.
        KeyboardInterrupt: Ctrl-C; the steps that are done are kept in ``checkpoint``.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):  # either may be the one that speaks
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = launch(settings)
    home = next(module.parameters()).device
    module.to(fabric.device)
    state = _State.fresh(module, settings)
    first = state.restore(checkpoint) if resume and checkpoint.exists() else 0
    if is_main_process():
        on_start()
    meter = _Meter(settings, first)
    with Interrupt() as interrupt:
        for number in range(first, settings.steps):
            step, done = _step(number, count, settings), number + 1
            loss, figures = state.advance(objective, step, fabric)
            row = meter.add(number, loss, min(settings.batch, count), figures)
            if row and is_main_process():
                on_log(row)
            if done % settings.checkpoint_every == 0 or done == settings.steps or interrupt.pending:
                state.save(done, checkpoint)
            if interrupt.pending:
                interrupt.deliver(f"interrupted: {done} of {settings.steps} steps are kept in {checkpoint}")
    state.finish()
    module.to(home)
    if is_main_process():
        sweep(checkpoint.parent / CACHE)  # no process writes there any more


def _step(number: int, count: int, settings: TrainSettings) -> Step:
    seed = random.Random(f"{settings.seed}/{number}").getrandbits(62)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    index = batch_index(count, settings.batch, number, settings.seed)
    share = Share.of_this_process(len(index))
    mine = index if share is None else index[share.rows]
    return Step(mine, generator, number, number / max(settings.steps - 1, 1), share)


@dataclass(frozen=True)
class _State:
    """Everything a step changes, and what a checkpoint holds."""

    module: nn.Module
    optimiser: torch.optim.AdamW
    average: WeightAverage | None
    settings: TrainSettings

    @classmethod
    def fresh(cls, module: nn.Module, settings: TrainSettings) -> _State:
        trained = [p for p in module.parameters() if p.requires_grad]
        average = WeightAverage(trained, settings.ema) if settings.ema else None
        return cls(module, _adamw(trained, settings), average, settings)

    def advance(self, objective: Objective, step: Step, fabric: Fabric) -> tuple[float, dict[str, float]]:
        """One step; the loss, a mean over all processes, and this one's figures."""
        schedule = self.settings
        with fabric.autocast():
            loss, figures = objective.loss(step)
        fabric.backward(loss)
        self._update(warmup_cosine(step.number, schedule.steps, schedule.warmup, schedule.learning_rate))
        objective.after_step(step)
        return float(mean_over_processes(loss.detach())), figures

    def _update(self, rate: float) -> None:
        """One optimiser step on the gradients of all processes."""
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, self.settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update()

    def finish(self) -> None:
        """Leave the averaged weights in the module, if there are any."""
        if self.average:
            self.average.apply()

    def save(self, step: int, path: Path) -> None:
        """Write a checkpoint, in the main process only.

        Raises:
            DataError: a weight is not finite.
            StorageError: it cannot be written.
        """
        self._check_finite(step)
        if is_main_process():
            state = {
                "step": step,
                "settings": self.settings.model_dump_json(),
                "module": self.module.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.weights if self.average else [],
            }
            with replacing(path) as partial:
                save_state(state, partial)
        wait_for_all()

    def _check_finite(self, step: int) -> None:
        for name, tensor in self.module.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise DataError(f"{name} is not finite after step {step}", remedy=_DIVERGED)

    def restore(self, path: Path) -> int:
        """Continue from a checkpoint; returns the steps it has behind it."""
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            written = TrainSettings.model_validate_json(state["settings"])
            self.module.load_state_dict(state["module"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average:
                self.average.load(state["average"])
        except Exception as error:
            reason = f"cannot resume from it ({type(error).__name__}: {first_line(error).partition('. ')[0]})"
            raise CheckpointError(reason, where=path, remedy="delete it or start without --resume") from error
        done = int(state["step"])
        if written.recipe() != self.settings.recipe() and not self.settings.extends(written, done):
            raise CheckpointError(
                f"it belongs to a run with other settings: {_differences(written, self.settings)}",
                where=path,
                remedy="use the same flags, or another --out",
            )
        return done


def _differences(written: TrainSettings, given: TrainSettings) -> str:
    """The settings that decide the weights and differ, with both values."""
    there, here = written.recipe(), given.recipe()
    return ", ".join(f"{name} {there[name]}, now {here[name]}" for name in there if there[name] != here[name])


def _adamw(trained: list[nn.Parameter], settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW without decay on biases, norms and single vectors.

    beta2 is 0.95: with 0.999 the first steps, whose gradients are up to a thousand times larger than
    later ones, fill the second moment and stall the encoder for a thousand steps (docs/pretraining.md).
    """
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2), fused=True)


class _Meter:
    """Means of the loss and figures between two log rows."""

    def __init__(self, settings: TrainSettings, first: int) -> None:
        self._settings = settings
        self._next = first
        self._reset()

    def _reset(self) -> None:
        self._since = time.perf_counter()
        self._samples = 0
        self._rows: list[dict[str, float]] = []

    def add(self, number: int, loss: float, samples: int, figures: dict[str, float]) -> LogRow | None:
        if not math.isfinite(loss):
            raise DataError(f"the loss became {loss} at step {number}", remedy=_DIVERGED)
        self._samples += samples
        self._rows.append({"loss": loss, **figures})
        done = number + 1
        if done % self._settings.log_every and done != self._settings.steps:
            return None
        names = dict.fromkeys(name for row in self._rows for name in row)  # a step has one budget's figures
        means = {n: _mean([row[n] for row in self._rows if n in row]) for n in names}
        rate = self._samples / max(time.perf_counter() - self._since, 1e-9)
        self._reset()
        return LogRow(done, self._settings.steps, means.pop("loss"), rate, means)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
