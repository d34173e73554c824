"""The scene benchmark in its short form, and its fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scene import SIZES, plot, slope, summary


def rows(exponent: float, name: str = "student") -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "points": points,
            "ms_min": 1e-3 * points**exponent,
            "stages_ms": {"group": 0.0},
            "over_base_mb": points / 1e4,
        }
        for points in SIZES
    ]


@pytest.mark.parametrize("exponent", [1.0, 1.3, 2.0])
def test_the_fit_finds_the_exponent(exponent: float) -> None:
    assert slope(rows(exponent)) == pytest.approx(exponent, abs=1e-9)


def test_the_ratio_is_taken_at_the_largest_size_of_the_teacher(tmp_path: Path) -> None:
    both = rows(1.0) + rows(2.0, "teacher, fused attention")[:4]
    found = summary(both)
    assert found["teacher_points"] == SIZES[3]
    assert found["teacher_ratio"] == pytest.approx(SIZES[3])
    plot(both, found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_short_form(scene_bundle: Path, tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "scene.json"
    options = ["--bundle", scene_bundle, "--points", "400,1000", "--runs", "1", "--threads", "1"]
    command = [sys.executable, "-m", "benchmarks.scene", *options, "--teacher-seconds", "100", "--out", out]
    done = subprocess.run(
        list(map(str, command)), text=True, capture_output=True, check=False, cwd=repository
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a tiny student is no measure of the targets
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [row["points"] for row in record["rows"]] == [400, 400, 1000, 1000]
    assert [row["name"] for row in record["rows"]][:2] == ["student", "teacher, fused attention"]
    assert record["rows"][2]["groups"] == 125
    assert all(row["ms_min"] > 0 and row["over_base_mb"] > 0 for row in record["rows"])
