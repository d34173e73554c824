"""What a training run shows and keeps: a progress bar, a JSON-lines log, a plot of the loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from foundry_edge.training.engine import LogRow

PLAIN_LINES = 20
"""Lines at most that a stage writes to a pipe."""


class Report:
    """Context manager around one training stage."""

    def __init__(self, stage: str, log: Path, console: Console | None = None) -> None:
        self.stage = stage
        self.log = log
        self.console = console or Console(stderr=True)
        self._told = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} samples/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(stage, total=None, loss="-", rate="-")
        log.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def row(self, row: LogRow) -> None:
        """Show and append one row; on a pipe, at most `PLAIN_LINES` lines a stage."""
        self._progress.update(
            self._task,
            completed=row.step,
            total=row.steps,
            loss=f"{row.loss:.4f}",
            rate=f"{row.samples_per_s:.0f}",
        )
        figures = {"loss": round(row.loss, 6), **{k: round(v, 6) for k, v in row.figures.items()}}
        self.note(
            {"stage": self.stage, "step": row.step, **figures, "samples_per_s": round(row.samples_per_s, 1)}
        )
        share = row.step * PLAIN_LINES // row.steps
        if not self.console.is_terminal and share != self._told:
            self._told = share
            self.console.print(_plain(self.stage, row), highlight=False, soft_wrap=True)

    def note(self, record: dict[str, object]) -> None:
        """Append one record to the log."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def _plain(stage: str, row: LogRow) -> str:
    figures = "  ".join(f"{k} {v:.4f}" for k, v in row.figures.items())
    return (
        f"{stage} {row.step}/{row.steps}  loss {row.loss:.4f}  {figures}  {row.samples_per_s:.0f} samples/s"
    )


def chained(*callbacks: Callable[[LogRow], None]) -> Callable[[LogRow], None]:
    """One callback that calls all of them in order."""

    def call(row: LogRow) -> None:
        for callback in callbacks:
            callback(row)

    return call
