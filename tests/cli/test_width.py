"""Tables on narrow terminals and in pipes: figures are whole, paths are not broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_narrow_terminals_leave_out_whole_columns(called: Run, bundle: Path, width: int) -> None:
    whole = called("bundle", "show", bundle, COLUMNS="200").stdout.splitlines()[1:6]
    shown = called("bundle", "show", bundle, COLUMNS=str(width)).stdout
    lines = shown.splitlines()[1:6]
    assert "…" not in shown
    assert max(map(len, lines)) <= width
    for full, narrow in zip(whole, lines, strict=True):
        assert set(narrow.split()) <= set(full.split())
    named = " ".join(shown.partition("no room for ")[2].split()).partition(":")[0]
    assert set(named.split(", ")) - {""} == set(whole[0].split()) - set(lines[0].split())
    assert bool(named) == (max(map(len, whole)) > width)


def test_narrow_result_keeps_its_figures(called: Run, bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).normal(size=(300, 3)))
    shown = called("run", tmp_path / "scan.npy", "--bundle", bundle, COLUMNS="24").stdout
    assert "…" not in shown
    assert "85.0 %" in shown


def test_piped_tables_do_not_break_paths(called: Run, bundle: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (deep / "bundle").symlink_to(bundle)
    assert str(deep / "bundle") in called("doctor", "--bundle", deep / "bundle").stdout
    assert str(deep / "bundle") in called("bundle", "show", deep / "bundle", COLUMNS="60").stdout
    np.save(deep / "scan.npy", np.random.default_rng(0).normal(size=(300, 3)))
    assert str(deep / "scan.npy") in called("inspect", deep / "scan.npy").stdout


def test_piped_figures_are_not_cut(called: Run, tmp_path: Path) -> None:
    shown = called("macs", "embedded:student", COLUMNS="40").stdout
    assert "…" not in shown
    assert "MFLOPs" in shown
