"""`run` on real scans, object-sized to LiDAR, with the embedded bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle, read_points

COLUMNS = {"scannet_scene0000_00.bin": "x,y,z,red,green,blue"}


@pytest.fixture(scope="module")
def session() -> Session:
    """One engine of the embedded bundle."""
    return Session(load_bundle(), Budget(tokens=4, precision="int8"))


def _scans(shared: Path) -> list[dict[str, Any]]:
    manifest = json.loads((shared / "data" / "scans" / "manifest.json").read_text())
    return [scan for scan in manifest["scans"] if not scan["file"].startswith("odd/")]


def test_every_real_scan_gives_finite_features_and_the_bounds_of_the_manifest(
    shared: Path, session: Session
) -> None:
    for scan in _scans(shared):
        columns = COLUMNS.get(scan["file"])
        cloud = read_points(shared / "data" / "scans" / scan["file"], columns=columns)
        result = session.run(cloud)
        assert np.isfinite(result.tokens).all(), scan["file"]
        assert result.tokens.shape == (64, 192)
        np.testing.assert_allclose(cloud.bounds.min, scan["bbox_min"], atol=1e-5, err_msg=scan["file"])
        np.testing.assert_allclose(cloud.bounds.max, scan["bbox_max"], atol=1e-5, err_msg=scan["file"])
        assert cloud.read == scan["points"], scan["file"]


def test_the_order_of_points_changes_nothing(session: Session) -> None:
    xyz = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(xyz))
    first, second = session.run(xyz), session.run(xyz[order])
    np.testing.assert_allclose(first.tokens, second.tokens, atol=1e-5)
