"""Calibration data: drawn with a seed, never from the test side, with a floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST, TRAIN
from foundry_edge_calibration.clouds import FLOOR, calibration_clouds, group_clouds
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing

SPEC = Preprocessing(points=64, groups=8, group_size=8)


def _keys(xyz: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> set[bytes]:
    return {centers.tobytes() for centers in group_clouds(xyz, SPEC)[1]}


def test_the_default_is_the_training_side_and_never_the_test_side() -> None:
    samples = load_samples()
    clouds = calibration_clouds(None, SPEC, samples=10_000)
    found = {centers.tobytes() for centers in clouds.centers}
    assert len(clouds) == len(samples.part(TRAIN))
    assert found <= _keys(samples.part(TRAIN).xyz)
    assert not found & _keys(samples.part(TEST).xyz)
    assert not clouds.warnings


def test_the_draw_depends_on_the_seed_alone() -> None:
    one, same, other = (calibration_clouds(None, SPEC, 70, seed) for seed in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert np.array_equal(one.groups, same.groups)
    assert one.groups.shape == (70, 8, 8, 3)
    assert one.groups.dtype == np.float32


def test_few_clouds_are_warned_of() -> None:
    assert any(str(FLOOR) in line for line in calibration_clouds(None, SPEC, 20).warnings)


def test_scans_of_a_folder_and_bad_ones_among_them(tmp_path: Path) -> None:
    for i, xyz in enumerate(load_samples().xyz[:3]):
        np.save(tmp_path / f"{i}.npy", xyz)
    (tmp_path / "broken.pcd").write_text("not a point cloud")
    clouds = calibration_clouds(tmp_path, SPEC)
    assert len(clouds) == 3
    assert clouds.name == tmp_path.name
    assert any(
        "1 calibration scans were skipped" in line and "broken.pcd" in line for line in clouds.warnings
    )


def test_no_valid_cloud_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.pcd").write_text("not a point cloud")
    with pytest.raises(DataError, match=r"no valid cloud: .*broken.pcd"):
        calibration_clouds(tmp_path, SPEC)
    with pytest.raises(DataError, match="no such file or folder"):
        calibration_clouds(tmp_path / "nowhere", SPEC)


def test_a_data_set_gives_its_training_side(tmp_path: Path) -> None:
    points = (load_samples().xyz[:6] * 32767).astype(np.int16)
    np.savez(tmp_path / "mine.npz", points=points, split=np.array([0, 1, 0, 1, 0, 1]))
    clouds = calibration_clouds(tmp_path / "mine.npz", SPEC)
    assert clouds.name == "mine (train)"
    assert len(clouds) == 3
    np.savez(tmp_path / "test.npz", points=points, split=np.ones(6))
    with pytest.raises(DataError, match="has no training side"):
        calibration_clouds(tmp_path / "test.npz", SPEC)
