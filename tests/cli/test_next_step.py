"""The line that says what to run next can be run as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_edge.cli import distill, export, finetune
from foundry_edge.measures.fidelity import Fidelity
from foundry_edge.training.distill import BudgetResult, DistillReport
from foundry_edge.training.finetune import FinetuneReport, TunedBudget
from foundry_edge_export import ExportReport

SPACED = Path("my models/chairs & co")


def _last(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def _distilled(method: str, tokens: tuple[int, ...]) -> DistillReport:
    same = Fidelity(cosine_mean=1.0, cosine_worst=1.0, smooth_l1=0.0, samples=1)
    budgets = tuple(BudgetResult(count, same, same, {}) for count in tokens)
    return DistillReport(SPACED, method, "teacher", ("samples",), 1, 1, 1.0, budgets)


@pytest.mark.parametrize(
    ("method", "tokens", "expected"),
    [
        ("dso", (1, 4, 16), "export 'my models/chairs & co' --tokens 4"),
        ("dso", (1, 2), "export 'my models/chairs & co' --tokens 2"),
        ("truncation", (64,), "evaluate 'my models/chairs & co'"),
        ("fps", (1, 4), "evaluate 'my models/chairs & co'"),
    ],
)
def test_after_distill(
    capsys: pytest.CaptureFixture[str], method: str, tokens: tuple[int, ...], expected: str
) -> None:
    distill._show(_distilled(method, tokens))
    assert _last(capsys) == f"Next: foundry-edge {expected}"


@pytest.mark.parametrize(("tokens", "command"), [(4, "export"), (None, "evaluate")])
def test_after_finetune(capsys: pytest.CaptureFixture[str], tokens: int | None, command: str) -> None:
    budgets = (TunedBudget(tokens, {"accuracy": 1.0}),)
    finetune._show(FinetuneReport(SPACED, "model", "samples", "classification", 1, 1, 1.0, budgets))
    assert _last(capsys).startswith(f"Next: foundry-edge {command} 'my models/chairs & co'")


def test_after_export(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOUNDRY_EDGE_BUNDLE", raising=False)
    usual, other = Path("foundry-out/bundle").absolute(), tmp_path / "my bundle"
    assert _exported(usual, capsys) == "Next: foundry-edge run scan.pcd"
    named = f"Next: foundry-edge run scan.pcd --bundle '{other}'"
    assert _exported(other, capsys) == named
    monkeypatch.setenv("FOUNDRY_EDGE_BUNDLE", "elsewhere")
    assert _exported(usual, capsys) == f"Next: foundry-edge run scan.pcd --bundle {usual}"


def _exported(bundle: Path, capsys: pytest.CaptureFixture[str]) -> str:
    export._show(ExportReport(bundle, "id", "", (), (), {}, {}, (), 1.0, kept=True), json=False)
    return _last(capsys)
