"""Scenes from points to features: sizes, memory, wrong input, what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from foundry_edge_runtime import InputError, ScanError, load_bundle, read_points
from foundry_edge_runtime.bundle.manifest import Manifest, Scene
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run
from foundry_edge_runtime.saved import is_result
from foundry_edge_runtime.scenes.nearest import NearestCentres
from foundry_edge_runtime.scenes.plan import Size, plan
from foundry_edge_runtime.scenes.points import ScenePoints
from foundry_edge_runtime.scenes.result import SceneResult
from foundry_edge_runtime.scenes.run import run_scene
from foundry_edge_runtime.scenes.session import SceneSession
from foundry_edge_runtime.scenes.windows import stacked, windows
from tests.runtime.tiny_bundle import write_bundle
from tests.scenes.conftest import room

PEAK = """
import sys
import numpy as np
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.scenes.session import SceneSession

rng = np.random.default_rng(0)
xyz = rng.uniform(-20, 20, (int(sys.argv[2]), 3)).astype(np.float32)
xyz[:, 2] = np.sin(xyz[:, 0]) + 0.1 * np.cos(3 * xyz[:, 1])
xyz[: len(xyz) // 3] = xyz[0]  # many points in one place, which is the worst for grouping
with SceneSession(load_bundle(sys.argv[1]), threads=1) as session:
    start = resident_mb()
with SceneSession(load_bundle(sys.argv[1]), threads=1, max_memory_mb=start + float(sys.argv[3])) as session:
    result = session.run(xyz)
print(start, result.memory.peak, result.memory.expected, session.limit_mb, result.chunks.windows, result.kept)
"""
needs_proc = pytest.mark.skipif(
    resident_mb() is None, reason="this system does not tell what a process takes"
)


def save(path: Path, xyz: npt.NDArray[np.floating]) -> Path:
    np.save(path, xyz)
    return path


@pytest.fixture
def manifest(scene_bundle: Path) -> tuple[Manifest, Scene]:
    found = load_bundle(scene_bundle).manifest
    assert found.scene is not None
    return found, found.scene


@pytest.mark.parametrize("count", [1, 15, 16, 17, 250])
def test_windows_hold_every_group_once(count: int) -> None:
    centers = np.random.default_rng(count).uniform(size=(count, 3)).astype(np.float32)
    parts = windows(centers, 16)
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert len(parts) == -(-count // 16)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    together = list(stacked(parts, 3))
    assert all(len(rows) <= 3 for rows in together)
    np.testing.assert_array_equal(np.concatenate([rows.ravel() for rows in together]), np.concatenate(parts))


@pytest.mark.parametrize(("centres", "k"), [(1, 3), (2, 3), (40, 1), (500, 3), (700, 20)])
def test_nearest_centres_are_exact(centres: int, k: int) -> None:
    rng = np.random.default_rng(centres)
    centers = rng.normal(size=(centres, 3)).astype(np.float32)
    xyz = rng.normal(scale=1.5, size=(3000, 3)).astype(np.float32)
    found, squared = NearestCentres(centers, k).of(xyz)
    exact = ((xyz[:, None].astype(np.float64) - centers[None]) ** 2).sum(axis=-1)
    wanted = np.sort(exact, axis=1)[:, : min(k, centres)]
    np.testing.assert_allclose(squared, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(exact, found.astype(int), axis=1), wanted, rtol=1e-5, atol=1e-6
    )


def test_points_take_the_features_of_the_centres_around_them(scene_bundle: Path) -> None:
    with SceneSession(load_bundle(scene_bundle)) as session:
        result = session.run(room(3000))
    points = result.frame.apply(result.cloud.xyz).astype(np.float64)
    squared = ((points[:, None] - result.centers[None]) ** 2).sum(axis=-1)
    nearest = np.argsort(squared, axis=1)[:, :3]
    weights = 1 / np.maximum(np.take_along_axis(squared, nearest, axis=1), 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum("nk,nkd->nd", weights, result.tokens[nearest].astype(np.float64))
    found = np.concatenate([block for _, block in ScenePoints(result).blocks(result.tokens)])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - expected).mean() < 1e-5


def test_features_are_saved_with_every_point(scene_bundle: Path, tmp_path: Path) -> None:
    scan = save(tmp_path / "room.npy", room(2500) + np.array((4e5, 5e6, 0.0)))
    (result,) = run_scene(scan, bundle=scene_bundle, save=tmp_path / "out", per_point=True)
    assert isinstance(result, SceneResult)
    assert result.saved is not None
    assert result.points is not None
    assert result.saved.name.endswith(".scene.npz")
    assert result.points.name == result.saved.name.replace(".npz", ".points.ply")
    assert [is_result(path) for path in (tmp_path / "out").iterdir()] == [True] * 3
    stored = np.load(result.saved)
    assert stored["tokens"].shape == (312, 48)
    assert stored["supertoken"].max() < 4
    places = stored["centers"] * stored["radius"] + stored["centre"] + stored["origin"]
    original = np.load(scan)
    gap = np.abs(places[:50, None] - original[None]).max(axis=-1).min(axis=1)
    assert gap.max() < 1e-3  # every centre is one of the points
    features = np.load(result.saved.with_suffix(".points.npy"))
    assert features.shape == (2500, 48)
    again = read_points(result.points)
    np.testing.assert_allclose(again.xyz + again.origin, original, atol=1e-3)
    assert set(again.attributes) >= {"group", "supertoken"}
    np.testing.assert_array_equal(
        again.attributes["supertoken"], stored["supertoken"][np.asarray(again.attributes["group"], dtype=int)]
    )


def test_record_is_that_of_run_with_a_section_more(scene_bundle: Path) -> None:
    with SceneSession(load_bundle(scene_bundle), tokens=2) as session:
        record = json.loads(json.dumps(session.run(room(2000)).as_json(), allow_nan=False))
    assert record["features"] == {"tokens": [250, 48], "global": 96, "saved": None}
    assert record["engine"]["tokens"] == 2
    assert record["prediction"] is None
    assert (record["budget"]["met"], record["budget"]["kept"]) == (True, True)
    assert record["scene"]["groups"] == 250
    assert list(record["scene"]["stages_ms"]) == ["frame", "group", "tokens", "assign", "encode", "restore"]
    latency = record["latency_ms"]
    assert latency["total"] == pytest.approx(latency["read"] + latency["group"] + latency["engine"], abs=0.01)


def test_chunks_follow_from_the_limit(manifest: tuple[Manifest, Scene]) -> None:
    size = Size(1_000_000, 31_250, 4)
    free = plan(*manifest, size, 100.0, None)
    tight = plan(*manifest, size, 100.0, free.expected_mb)
    assert tight.chunks == free.chunks
    about, scene = manifest
    heavy = scene.model_copy(update={"group_bytes": 10 * 2**20})
    plans = [plan(about, heavy, size, 100.0, limit) for limit in (4000.0, 1000.0, 600.0)]
    assert [one.chunks.windows for one in plans] == sorted(
        (one.chunks.windows for one in plans), reverse=True
    )
    assert plans[0].chunks.windows > plans[-1].chunks.windows
    assert all(one.expected_mb <= limit for one, limit in zip(plans, (4000.0, 1000.0, 600.0), strict=True))
    with pytest.raises(InputError, match=r"needs \d+ MiB .*raise it to \d+"):
        plan(about, heavy, size, 100.0, 120.0)


@needs_proc
def test_memory_keeps_within_the_limit(scene_bundle: Path) -> None:
    start, peak, expected, limit, _, met = _peak(scene_bundle, 200_000, 110)
    assert met == "True"
    assert float(start) < float(peak) <= float(expected) <= float(limit)


def _peak(bundle: Path, points: int, more_mb: float) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", PEAK, str(bundle), str(points), str(more_mb)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_proc
def test_a_limit_that_cannot_be_kept_is_refused(scene_bundle: Path) -> None:
    now = resident_mb()
    assert now is not None
    with pytest.raises(InputError, match=r"takes .* before it reads anything"):
        SceneSession(load_bundle(scene_bundle), max_memory_mb=now / 2)
    with (
        SceneSession(load_bundle(scene_bundle), max_memory_mb=now + 40) as session,
        pytest.raises(InputError, match=r"a scene of 2000000 points needs \d+ MiB"),
    ):
        session.run(np.zeros((2_000_000, 3), dtype=np.float32))
    for wrong in (0.0, -5.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="above 0"):
            SceneSession(load_bundle(scene_bundle), max_memory_mb=wrong)


def test_wrong_input_is_refused(scene_bundle: Path, tmp_path: Path) -> None:
    with SceneSession(load_bundle(scene_bundle)) as session:
        with pytest.raises(ScanError, match=r"at least 32 points .* found 31"):
            session.run(room(31))
        assert session.run(room(32)).tokens.shape == (4, 48)
        assert np.isfinite(session.run(np.ones((400, 3))).tokens).all()
    with pytest.raises(InputError, match=r"no scene budget of 3 SuperTokens.*it has 1, 2, 4"):
        SceneSession(load_bundle(scene_bundle), tokens=3)
    with pytest.raises(InputError, match="onnxruntime alone"):
        SceneSession(load_bundle(scene_bundle), backend="tensorrt")
    with pytest.raises(InputError, match=r"no graphs for scenes.*export --scene"):
        SceneSession(load_bundle(write_bundle(tmp_path / "plain")))
    with pytest.raises(InputError, match="add --save DIR"):
        run_scene(tmp_path, bundle=scene_bundle, per_point=True)


def test_scene_and_object_of_one_scan_are_saved_apart(scene_bundle: Path, tmp_path: Path) -> None:
    scan = save(tmp_path / "room.npy", room(500))
    (one,) = run_scene(scan, bundle=scene_bundle, save=tmp_path / "out")
    (other,) = run(scan, bundle=scene_bundle, save=tmp_path / "out")
    assert isinstance(one, SceneResult)
    assert isinstance(other, Result)
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(map(str, (one.saved, other.saved)))


def test_a_folder_gives_failures_and_results(scene_bundle: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    save(scans / "a.npy", room(1000))
    save(scans / "b.npy", room(10))
    (scans / "c.npy").write_bytes(b"\x93NUMPY broken")
    found = list(run_scene(scans, bundle=scene_bundle, save=tmp_path / "out"))
    assert [hasattr(one, "error") for one in found] == [False, True, True]
    with pytest.raises(ScanError, match="at least"):
        list(run_scene(scans / "b.npy", bundle=scene_bundle))


def test_an_altered_graph_is_refused(scene_bundle: Path, tmp_path: Path) -> None:
    import shutil

    from foundry_edge_runtime import BundleError

    copy = shutil.copytree(scene_bundle, tmp_path / "bundle")
    (graph,) = copy.glob("scene-encode-*.onnx")
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="SHA-256"):
        SceneSession(load_bundle(copy))
    with pytest.raises(BundleError, match="SHA-256"):
        load_bundle(copy).verify()


@pytest.mark.parametrize("name", ["kitti_000008_fov.bin", "scannet_scene0000_00.bin"])
def test_real_scans(scene_bundle: Path, shared: Path, name: str) -> None:
    (result,) = run_scene(shared / "data" / "scans" / name, bundle=scene_bundle)
    assert isinstance(result, SceneResult)
    assert len(result.tokens) == len(result.cloud) // 8
    assert np.isfinite(result.tokens).all()
    assert result.used > 1
