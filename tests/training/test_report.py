"""What a run tells on a pipe."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from foundry_edge.training.engine import LogRow
from foundry_edge.training.report import PLAIN_LINES, Report


def test_a_pipe_gets_whole_lines_evenly_spread(tmp_path: Path) -> None:
    told = io.StringIO()
    with Report("distill", tmp_path / "log.jsonl", Console(file=told, width=80)) as report:
        for step in range(100, 1501, 100):  # rows that never fall on a twentieth of the way, but for a few
            figures = {f"a_long_name_{i}": 0.5 for i in range(6)}
            report.row(LogRow(step=step, steps=1500, loss=1.0, samples_per_s=70.0, figures=figures))
    lines = told.getvalue().splitlines()
    assert len(lines) == 15 <= PLAIN_LINES
    assert all(line.endswith("samples/s") for line in lines)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 15
