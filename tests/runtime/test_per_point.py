"""Features of points: interpolation, components, colours, and the files they go to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundry_edge_runtime import Session, load_bundle, read_points
from foundry_edge_runtime.colours import feature_colours, group_colours, principal_components
from foundry_edge_runtime.errors import InputError, StorageError
from foundry_edge_runtime.interpolation import Interpolation, interpolation, point_features
from foundry_edge_runtime.point_files import save_points
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run

RNG = np.random.default_rng(17)


def made_up(points: int, c: int, seed: int) -> Interpolation:
    rng = np.random.default_rng(seed)
    weights = rng.random((points, 3))
    nearest = np.argsort(rng.random((points, c)), axis=1)[:, :3]
    return Interpolation(nearest, weights / weights.sum(axis=1, keepdims=True), c)


@pytest.fixture
def result(bundle_folder: Path) -> Result:
    return Session(load_bundle(bundle_folder)).run(RNG.normal(size=(500, 3)) + np.array((5e5, 4e6, 100)))


def test_weights_are_those_of_the_formula(result: Result) -> None:
    """PointNet++, equation 2 with p = 2 and k = 3, in float64 and by brute force."""
    found = interpolation(result)
    xyz = result.cloud.xyz.astype(np.float64)
    sample = _sample_of(result)
    centred = (xyz - sample.mean(axis=0)) / np.sqrt(((sample - sample.mean(axis=0)) ** 2).sum(axis=1).max())
    distance = ((centred[:, None] - result.centers[None].astype(np.float64)) ** 2).sum(axis=2)
    nearest = np.argsort(distance, axis=1)[:, :3]
    inverse = 1 / np.take_along_axis(distance, nearest, axis=1)
    expected = (inverse / inverse.sum(axis=1, keepdims=True))[:, :, None] * result.tokens[nearest]
    np.testing.assert_allclose(point_features(result), expected.sum(axis=1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-12)


def _sample_of(result: Result) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The points the model saw: in Z-order, evenly spaced."""
    from foundry_edge_runtime.grouping import canonical_order

    spec, xyz = result.bundle.manifest.preprocessing, result.cloud.xyz
    picked = (np.arange(spec.points) * len(xyz) + len(xyz) // 2) // spec.points
    return xyz[canonical_order(xyz)][picked].astype(np.float64)


def test_point_on_a_centre_has_its_token(result: Result) -> None:
    """The centres are points of the cloud: there the feature is that of the token."""
    found = interpolation(result)
    at = [
        int(np.flatnonzero((found.nearest[:, 0] == c) & (found.weights[:, 0] > 0.999))[0]) for c in range(4)
    ]
    np.testing.assert_allclose(point_features(result)[at], result.tokens, rtol=1e-3, atol=1e-3)


def test_blocks_change_nothing(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = point_features(result)
    monkeypatch.setattr("foundry_edge_runtime.interpolation.BLOCK", 7)
    np.testing.assert_array_equal(point_features(result), whole)


@settings(max_examples=25)
@given(st.integers(3, 8), st.integers(4, 12), st.integers(0, 99))
def test_components_are_those_of_the_features_themselves(c: int, d: int, seed: int) -> None:
    """Against an eigen-decomposition of the covariance of all features, made one by one."""
    rng = np.random.default_rng(seed)
    points, tokens = made_up(60, c, seed), rng.normal(size=(c, d)).astype(np.float32)
    features = np.einsum("nk,nkd->nd", points.weights, tokens.astype(np.float64)[points.nearest])
    values = np.linalg.eigvalsh(np.cov(features.T, bias=True))[::-1][:3]
    found = principal_components(tokens, points)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=1e-9)
    spread = np.var(features @ found, axis=0)
    np.testing.assert_allclose(spread, np.maximum(values, 0), rtol=1e-6, atol=1e-9)
    assert (np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0) > 0).all()


def test_colours_use_the_whole_range_and_are_grey_without_any(result: Result) -> None:
    points = interpolation(result)
    colours = feature_colours(result.tokens, points)
    assert colours.shape == (500, 3)
    assert colours.dtype == np.uint8
    assert colours.min(axis=0).tolist() == [0, 0, 0]
    assert colours.max(axis=0).tolist() == [255, 255, 255]
    flat = feature_colours(np.zeros_like(result.tokens), points)
    assert set(flat.ravel().tolist()) == {128}


def test_colours_of_groups_differ(result: Result) -> None:
    points = interpolation(result)
    colours = group_colours(points)
    pairs = {
        (int(group), *map(int, colour)) for group, colour in zip(points.nearest[:, 0], colours, strict=True)
    }
    assert len(pairs) == len({pair[1:] for pair in pairs}) == len(set(points.nearest[:, 0].tolist()))


def test_files(result: Result, tmp_path: Path) -> None:
    """Another reading of the PLY gives the coordinates of the file, to the millimetre."""
    ply = save_points(result, tmp_path / "a.npz")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "a.points.npy",
        "a.points.ply",
    ]
    np.testing.assert_array_equal(np.load(tmp_path / "a.points.npy"), point_features(result))
    again = read_points(ply)
    np.testing.assert_allclose(
        again.xyz + again.origin, result.cloud.xyz + result.cloud.origin, rtol=0, atol=1e-4
    )
    assert {"red", "green", "blue", "group"} <= set(again.attributes)
    np.testing.assert_array_equal(again.attributes["group"], interpolation(result).nearest[:, 0])


def test_cloud_around_zero_is_written_in_single_precision(bundle_folder: Path, tmp_path: Path) -> None:
    result = Session(load_bundle(bundle_folder)).run(RNG.normal(size=(50, 3)).astype(np.float32))
    assert not result.cloud.origin.any()
    ply = save_points(result, tmp_path / "a.npz")
    assert b"property float x" in ply.read_bytes()
    np.testing.assert_array_equal(read_points(ply).xyz, result.cloud.xyz)


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((9, 3)), RNG.normal(size=(2, 3))])
def test_degenerate_clouds(bundle_folder: Path, tmp_path: Path, points: np.ndarray) -> None:
    result = Session(load_bundle(bundle_folder)).run(points)
    assert len(read_points(save_points(result, tmp_path / "a.npz"))) == len(points)
    assert np.isfinite(point_features(result)).all()


def test_run_writes_them_and_names_the_file(bundle_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.normal(size=(60, 3)))
    (result,) = run(tmp_path / "a.npy", bundle=bundle_folder, save=tmp_path / "out", per_point=True)
    assert isinstance(result, Result)
    assert result.points is not None
    assert result.as_json()["features"]["points"] == str(result.points)
    assert result.points.is_file()
    with pytest.raises(InputError, match="--per-point needs a folder to write to; add --save DIR"):
        run(tmp_path / "a.npy", bundle=bundle_folder, per_point=True)
    with pytest.raises(InputError, match="needs a folder"):
        run(tmp_path / "a.npy", bundle=bundle_folder, save="x.parquet", per_point=True)


def test_full_disk(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        save_points(replace(result), tmp_path / "a.npz")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
