"""The embedded sample set, and the example scans made from its test shapes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foundry_edge.data.samples import load_samples
from foundry_edge_runtime import read_points

MOST_BYTES = 4 * 2**20


def test_samples_are_normalised_shapes_with_labels_and_a_split() -> None:
    samples = load_samples()
    assert samples.xyz.shape[1:] == (1024, 3)
    assert samples.xyz.dtype == np.float32
    radius = np.linalg.norm(samples.xyz, axis=2).max(axis=1)
    assert ((radius > 0.9) & (radius <= 1.001)).all()
    assert set(samples.label) == set(range(len(samples.classes)))
    assert len(set(samples.ids)) == len(samples.ids) == len(samples.xyz)


def test_samples_are_enough_to_calibrate_and_to_test_every_class() -> None:
    samples = load_samples()
    assert (samples.split == 0).sum() >= 256
    assert set(samples.label[samples.split == 1]) == set(range(len(samples.classes)))


def test_sample_file_is_small(repository: Path) -> None:
    assert (repository / "foundry_edge/assets/furniture.npz").stat().st_size < MOST_BYTES


def test_samples_are_part_of_the_furniture_set_with_its_split(shared: Path, repository: Path) -> None:
    whole = np.load(shared / "data" / "furniture.npz", allow_pickle=False)
    part = np.load(repository / "foundry_edge/assets/furniture.npz", allow_pickle=False)
    position = {str(name): i for i, name in enumerate(whole["id"])}
    index = [position[str(name)] for name in part["id"]]
    np.testing.assert_array_equal(part["points"], whole["points"][index, :1024])
    np.testing.assert_array_equal(part["split"], whole["split"][index])


def test_example_scans_are_what_the_script_writes(
    shared: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import make_examples

    arguments = ["make_examples.py", str(shared / "data" / "furniture.npz"), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    make_examples.main()
    for scene in make_examples.SCENES:
        made, kept = (read_points(folder / scene.file) for folder in (tmp_path, repository / "examples"))
        assert (made.format, made.fields) == (kept.format, kept.fields)
        np.testing.assert_allclose(made.xyz + made.origin, kept.xyz + kept.origin, atol=2e-3)  # 1 mm steps


def test_example_scans_are_small(repository: Path) -> None:
    assert sum(path.stat().st_size for path in (repository / "examples").iterdir()) < 2**20


@pytest.mark.parametrize("name", ["chair.pcd", "table_ascii.pcd", "sofa.ply"])
def test_example_script_names_the_object(repository: Path, name: str) -> None:
    command = [sys.executable, "-W", "error", str(repository / "examples" / "run_scan.py"), name]
    result = subprocess.run(command, cwd=repository / "examples", text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    points, *guesses = result.stdout.splitlines()
    assert int(points.split()[0]) == len(read_points(repository / "examples" / name))
    assert guesses


@pytest.mark.parametrize(
    ("arguments", "message"), [(["nosuch.pcd"], "error: nosuch.pcd: no such file"), ([], "usage: ")]
)
def test_example_script_says_what_is_wrong(repository: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, str(repository / "examples" / "run_scan.py"), *arguments]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert "Traceback" not in result.stderr
