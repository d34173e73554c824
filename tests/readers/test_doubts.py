"""Clouds that every reader takes and no model can name: each has a warning, sound ones have none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from foundry_edge_runtime.readers import as_cloud, read_points

RNG = np.random.default_rng(8)
BALL = RNG.normal(size=(3000, 3))
UTM = np.array((4e5, 5.4e6, 100.0))
STRAIGHT = "the points lie on one straight line"
Points = npt.NDArray[np.floating]


def line(direction: tuple[float, float, float]) -> Points:
    return np.outer(np.linspace(-1, 2, 500), direction)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (np.tile([[0.1, 0.2, 0.3]], (500, 1)), "all 500 points are in one place"),
        (np.tile(BALL[:4], (100, 1)), "only 4 distinct points among 400"),
        (BALL[:4], "only 4 points: too few"),
        (BALL[:2], "only 2 points"),
        (line((0, 1, 0)), STRAIGHT),
        (line((1, 2, 3)) + UTM, STRAIGHT),
        (line((1, 2, 3)).astype(np.float32) + np.float32(5), STRAIGHT),
        (
            np.vstack([BALL, [[1e7, 0, 0]]]),
            r"1 stray point makes the rest tiny: 3000 of 3001 points lie within .* of an extent of 1e\+07",
        ),
        (np.vstack([BALL, 1e4 + BALL[:9]]), "9 stray points make the rest tiny: 3000 of 3009"),
        (np.vstack([BALL[:20], [[1e5, 0, 0]]]), "1 stray point makes the rest tiny: 20 of 21"),
        (np.vstack([BALL + UTM, np.zeros((1, 3))]), "1 stray point makes the rest tiny"),
        (
            (BALL + UTM).astype(np.float32),
            r"stored as float32 with coordinates up to 5.4e\+06, where a step is 0.5: the longest side has",
        ),
    ],
)
def test_what_makes_a_cloud_useless_is_said(points: Points, expected: str) -> None:
    (warning,) = as_cloud(points).warnings
    assert re.match(expected, warning), warning


@pytest.mark.parametrize(
    "points",
    [
        BALL,
        BALL[:5],
        BALL * (1, 1, 0),
        BALL * (1, 1e-3, 1e-3),
        BALL + UTM,
        (1000 * BALL + UTM).astype(np.float32),
        np.vstack([BALL, 100 * BALL[:500]]),
        np.vstack([BALL, np.zeros((9000, 3))]),
        BALL * 1e-9,
    ],
)
def test_sound_clouds_have_no_warning(points: Points) -> None:
    assert as_cloud(points).warnings == ()


def test_only_what_the_file_stores_as_float32_is_called_coarse(tmp_path: Path) -> None:
    for dtype, count in ((np.float32, 1), (np.float64, 0)):
        np.save(tmp_path / "utm.npy", (BALL + UTM).astype(dtype))
        assert len(read_points(tmp_path / "utm.npy").warnings) == count


def test_organised_scans_are_not_judged_by_one_row() -> None:
    """64 rings of 1024 points each, ring by ring and point by point: every 64th point is of one ring."""
    angle = np.linspace(0, 2 * np.pi, 1024, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(1024)])
    scan = np.stack([ring * (1 + row) + (0, 0, row) for row in range(64)], axis=1)
    assert as_cloud(scan.reshape(-1, 3)).warnings == ()
    assert as_cloud(scan.transpose(1, 0, 2).reshape(-1, 3)).warnings == ()
