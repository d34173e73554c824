"""Real scans: points, finite points and bounds agree with those that independent readers found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers import read_points

SCANS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "scans"
MANIFEST = SCANS / "manifest.json"
ENTRIES: list[dict[str, Any]] = json.loads(MANIFEST.read_text())["scans"] if MANIFEST.is_file() else []
pytestmark = pytest.mark.skipif(not ENTRIES, reason="needs the scans beside the repository")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_scan_agrees_with_its_manifest(entry: dict[str, Any]) -> None:
    path = SCANS / entry["file"]
    if entry["points"] is None:  # x and y, but no z
        with pytest.raises(ScanError, match="no field named z"):
            read_points(path)
        return
    cloud = read_points(path, vertices=True)
    assert cloud.read == entry["points"]
    assert len(cloud) == entry["points_finite"]
    assert cloud.bounds.min == pytest.approx(entry["bbox_min"], abs=1e-5, rel=1e-12)
    assert cloud.bounds.max == pytest.approx(entry["bbox_max"], abs=1e-5, rel=1e-12)
    positions = cloud.xyz.astype(np.float64) + cloud.origin
    reach = np.ptp(positions, axis=0).max()
    assert positions.min(axis=0) == pytest.approx(entry["bbox_min"], abs=reach * 1e-6)
    assert positions.max(axis=0) == pytest.approx(entry["bbox_max"], abs=reach * 1e-6)


COLUMNS = {
    "kitti_000008_fov.bin": "intensity",
    "nuscenes_1532402927647951.pcd.bin": "intensity ring",
    "scannet_scene0000_00.bin": "red green blue",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_real_raw_tables_are_inferred(name: str) -> None:
    assert " ".join(read_points(SCANS / name).attributes) == COLUMNS[name]
