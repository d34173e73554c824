"""The stages of fine-tuning: the encoder frozen, then thawed; each resumes on its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from foundry_edge.measures.features import Advance, silent
from foundry_edge.training.engine import train
from foundry_edge.training.report import Report, chained
from foundry_edge.training.settings import TrainSettings

FROZEN_SHARE = 1 / 6
"""Of the epochs. Published are two thirds, of 150 epochs: of 30 that leaves too few to the encoder."""


@dataclass(frozen=True)
class Tuning:
    """What is trained, and on what.

    Attributes:
        frozen: only the head; the network stays as it is.
        views: clouds of each training shape, see `scan_view`.
        hidden: channels of the head; None takes the default of the task.
    """

    frozen: bool = False
    views: int = 4
    hidden: int | None = None


@dataclass(frozen=True)
class Stages:
    """Where and how long to train.

    Attributes:
        folder: for logs and checkpoints.
        settings: of either stage.
        epochs: passes over the data, both stages together.
        resume: continue from checkpoints in the folder.
        console: for progress.
        advance: told of progress as well.
    """

    folder: Path
    settings: TrainSettings
    epochs: float
    resume: bool
    console: Console
    advance: Advance = silent

    def run(self, name: str, objective: Any, count: int, share: float) -> None:
        """Train one stage.

        Args:
            name: of its log rows and its checkpoint.
            objective: an nn.Module and `Objective`; its parameters with requires_grad are trained.
            count: training shapes.
            share: of the epochs.
        """
        steps = round(self.epochs * share * count / self.settings.batch)
        if not steps:
            return
        settings = self.settings.model_copy(update={"steps": steps}).resolved()
        log = self.folder / f"{name}.jsonl"
        if not self.resume:
            log.unlink(missing_ok=True)
        with Report(name, log, self.console) as report:
            tell = chained(report.row, lambda row: self.advance(row.step, row.steps, name))
            train(objective, objective, count, settings, self.folder / f"{name}.pt", tell, self.resume)
        objective.to("cpu")


def freeze(network: nn.Module, frozen: bool) -> None:
    """Freeze or thaw a network; batch norms of its tokenizer keep their statistics either way."""
    network.requires_grad_(not frozen)
    network.train(not frozen)
