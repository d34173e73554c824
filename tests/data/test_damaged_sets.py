"""A damaged or wrong file of a data set is one line that names it; nothing is read as something else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge.data.shapes import load_npz, load_sets
from foundry_edge_runtime.errors import DataError
from tests.data import forms

POINTS = np.random.default_rng(0).integers(-30000, 30000, (3, 50, 3)).astype(np.int16)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))


def refusal(path: Path) -> str:
    """What `load_sets` says of ``path``: one line with a remedy."""
    with pytest.raises(DataError) as caught:
        load_sets([path])
    assert caught.value.where
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _flipped(path: Path) -> None:
    np.savez_compressed(path, points=POINTS)
    data = bytearray(path.read_bytes())
    data[80:300:7] = bytes(255 - byte for byte in data[80:300:7])
    path.write_bytes(data)


def _npy(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, POINTS)


def _member(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("points.npy", data)

    return write


def _claim(*shape: int) -> Callable[[Path], None]:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<i2", "fortran_order": False, "shape": (*shape, 3)}
    )
    return _member(stream.getvalue() + bytes(100))


def _directory(offset: int, value: int) -> Callable[[Path], None]:
    """Change a byte of the first entry of the archive's directory."""

    def write(path: Path) -> None:
        np.savez(path, points=POINTS)
        data = bytearray(path.read_bytes())
        data[data.find(b"PK\1\2") + offset] = value
        path.write_bytes(data)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_bytes(b""), "not a zip file"),
        (_flipped, "not a data set"),
        (_npy, "not a zip file"),
        (_member(b""), "not a data set"),
        (_directory(8, 1), "encrypted"),
        (_directory(10, 99), "unknown method 99"),
        (_claim(10**7, 1000), "cannot hold"),
        (_claim(10**12, 1000), "cannot hold"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: np.savez(path, label=[1]), "lacks 'points'"),
    ],
)
def test_damaged_npz(tmp_path: Path, write: Callable[[Path], Any], said: str) -> None:
    write(tmp_path / "a.npz")
    assert said in refusal(tmp_path / "a.npz")
    assert "a.npz" in refusal(tmp_path / "a.npz")


def test_more_than_256_parts_keep_their_numbers(tmp_path: Path) -> None:
    part = np.full((3, 50), 300, np.uint16)
    np.savez(tmp_path / "a.npz", points=POINTS, part=part, part_names=[str(i) for i in range(400)])
    np.testing.assert_array_equal(load_npz(tmp_path / "a.npz").part_label, part)
    np.savez(tmp_path / "b.npz", points=POINTS, part=np.full((3, 50), 1 << 40))
    assert "'part' holds" in refusal(tmp_path / "b.npz")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_hdf5_with_a_point_that_is_no_number(tmp_path: Path, number: float) -> None:
    root = forms.modelnet_hdf5(tmp_path / "h5")
    xyz = np.stack([forms.cloud(64, i) for i in range(2)])
    xyz[1, 5, 2] = number
    forms.write_h5(root / "ply_data_train1.h5", np.zeros(2), xyz=xyz)
    assert "ply_data_train1.h5: 'data' holds NaN or infinity in shape 1" in refusal(root)


def _scans(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        np.save(folder / f"{i}.npy", forms.cloud(50, i))
    return folder


def test_an_npz_set_beside_another_set_is_refused(tmp_path: Path) -> None:
    for root in (_scans(tmp_path / "a" / "chair").parent, forms.modelnet_hdf5(tmp_path / "b")):
        _scans(root / "table")
        np.savez(root / "top.npz", points=POINTS)
        assert "holds top.npz beside another data set" in refusal(root)


def test_npz_sets_are_read_beside_a_folder_of_scans(tmp_path: Path) -> None:
    root = _scans(tmp_path / "sets" / "scans").parent
    for name in ("a", "b"):
        np.savez(root / f"{name}.npz", points=POINTS)
    assert [shapes.name for shapes in load_sets([root])] == ["a", "b"]


def test_a_folder_of_npz_scans_is_a_set(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(3):
        np.savez(tmp_path / "set" / f"{i}.npz", points=forms.cloud(64, i))
    (shapes,) = load_sets([tmp_path / "set"])
    assert shapes.label.tolist() == [-1] * 3
    _scans(tmp_path / "set" / "chair")
    (shapes,) = load_sets([tmp_path / "set"])
    assert shapes.label.tolist() == [-1, -1, -1, 0, 0]


@pytest.mark.parametrize(
    ("inner", "make"),
    [
        ("ModelNet40", forms.off_folders),
        ("set", lambda root: [_scans(root / side / name) for side in ("train", "test") for name in "ab"]),
        ("deeper/set", lambda root: [_scans(root / "a" / side) for side in ("train", "test")]),
        ("resampled", forms.modelnet_text),
        ("h5_files", forms.scanobjectnn),
        ("hdf5_data", forms.shapenetpart_hdf5),
    ],
)
def test_a_folder_above_the_set_names_the_set(
    tmp_path: Path, inner: str, make: Callable[[Path], Any]
) -> None:
    (tmp_path / "wrap" / inner).parent.mkdir(parents=True)
    make(tmp_path / "wrap" / inner)
    assert refusal(tmp_path / "wrap").endswith(f"; give {tmp_path / 'wrap' / inner}")
    assert load_sets([tmp_path / "wrap" / inner])


@pytest.mark.parametrize(("lost", "said"), [(["chair"], "chair"), (["chair", "table"], "chair")])
def test_off_folders_without_test_are_incomplete(tmp_path: Path, lost: list[str], said: str) -> None:
    root = forms.off_folders(tmp_path / "ModelNet10")
    for label in lost:
        (root / label / "test" / f"{label}_0003.off").unlink()
    assert f"{root / said}: class {said} has no scan below test; complete it" in refusal(root)
    assert "https://modelnet" in refusal(root)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.txt", "is no data set of a known form"),
        ("chair.pcd", "is a single scan, no data set"),
        ("mistyped", "no such file or folder"),
    ],
)
def test_what_is_no_set_says_what_data_takes(tmp_path: Path, name: str, said: str) -> None:
    if "." in name:
        (tmp_path / name).write_text("hello")
    assert f"{name}: {said}; --data takes an .npz set, a folder of them" in refusal(tmp_path / name)
