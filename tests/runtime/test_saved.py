"""Results in a folder of scans: they are told from scans by what they hold."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.inspection import inspect_all
from foundry_edge_runtime.readers import find_scans, read_points
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run
from foundry_edge_runtime.saved import is_result
from foundry_edge_runtime.streams.watch import watch

RNG = np.random.default_rng(29)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, RNG.normal(size=(300, 3)))
    return folder


def inputs(scans: Path, bundle: Path, save: Path) -> list[str]:
    results = list(run(scans, bundle=bundle, save=save, per_point=True))
    assert all(isinstance(one, Result) for one in results)
    return [Path(one.cloud.source).name for one in results if isinstance(one, Result)]


@pytest.mark.parametrize("below", ["", "out"])
def test_second_run_passes_over_what_the_first_saved(
    scans: Path, bundle_folder: Path, below: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the results lie among the scans themselves."""
    for _ in range(2):
        assert inputs(scans, bundle_folder, scans / below) == ["a.npy", "b.npy"]
    assert [one.getMessage() for one in caplog.records] == [
        f"{scans}: files that an earlier run saved, left out: 6"
    ]
    assert len(list(inspect_all([scans]))) == 2


def test_watched_folder_may_be_the_one_that_results_go_to(scans: Path, bundle_folder: Path) -> None:
    inputs(scans, bundle_folder, scans)
    looks = watch(scans, seconds=0.01)
    assert [Path(item.name).name for item, _ in zip(looks, range(4), strict=False) if item] == [
        "a.npy",
        "b.npy",
    ]


def test_folder_of_results_alone_holds_no_scan(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    inputs(scans, bundle_folder, tmp_path / "out")
    with pytest.raises(InputError, match="no scan found in the folder"):
        run(tmp_path / "out", bundle=bundle_folder)
    assert len(find_scans(tmp_path / "out")) == 6
    assert len(read_points(tmp_path / "out" / "a.npy.points.ply")) == 300  # named by itself it is read


def test_scans_that_look_alike_are_no_results(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    """Names as results have, and arrays that features have beside points."""
    inputs(scans, bundle_folder, tmp_path)
    mine = scans / "mine"
    mine.mkdir()
    shutil.copy(scans / "a.npy", mine / "a.points.npy")
    arrays: dict[str, Any] = {name: np.zeros(300) for name in ("tokens", "centers", "global")}
    np.savez(mine / "with_features.npz", points=RNG.normal(size=(300, 3)), **arrays)
    np.savez(mine / "axes.npz", **arrays | dict.fromkeys("xyz", RNG.normal(size=300)))
    np.savez(mine / "a.npz", RNG.normal(size=(300, 3)))
    (mine / "broken.npz").write_bytes(b"PK\x03\x04")
    ply = (tmp_path / "a.npy.points.ply").read_bytes()
    (mine / "b.points.ply").write_bytes(ply.replace(b"comment foundry-edge\n", b"comment of mine\n"))
    assert [path.name for path in find_scans(mine) if is_result(path)] == []


def test_features_read_as_points_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "wide.npy", RNG.normal(size=(300, 192)))
    (warning,) = read_points(tmp_path / "wide.npy").warnings
    assert "the first 3 of 192 columns were taken for x, y and z" in warning
    named = ",".join(["x", "y", "z", *(f"f{i}" for i in range(189))])
    assert read_points(tmp_path / "wide.npy", columns=named).warnings == ()
    np.save(tmp_path / "narrow.npy", RNG.normal(size=(300, 16)))
    assert read_points(tmp_path / "narrow.npy").warnings == ()
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
