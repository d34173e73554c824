"""A damaged or wrong file of a data set is one line that names it; nothing is read as something else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
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


LABELS = np.array([0, 1])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: forms.write_h5(path, LABELS, points=32), "'data' has 32 points a shape, but that of"),
        (
            lambda path: forms.write_h5(path, LABELS, xyz=np.zeros((2, 0, 3), np.float32)),
            "'data' is float32 (2, 0, 3)",
        ),
        (lambda path: forms.write_h5(path, np.array([b"a", b"b"])), "'label' is"),
        (lambda path: forms.write_h5(path, np.eye(2)), "'label' is float64 (2, 2), expected integers (2,)"),
        (lambda path: forms.write_h5(path, np.array([0.5, 1])), "'label' holds 0.5, expected"),
        (lambda path: forms.write_h5(path, np.array([np.nan, 1])), "'label' holds nan, expected"),
        (lambda path: forms.write_h5(path, np.array([-1, 1])), "'label' holds -1, expected whole"),
        (lambda path: forms.write_h5(path, np.array([0, 99])), "'label' holds 99, expected whole"),
    ],
)
@pytest.mark.parametrize(
    ("make", "file"),
    [
        (forms.modelnet_hdf5, "ply_data_test0.h5"),
        (forms.scanobjectnn, "main_split/test_objectdataset.h5"),
    ],
)
def test_wrong_hdf5(
    tmp_path: Path, make: Callable[[Path], Path], file: str, write: Callable[[Path], None], said: str
) -> None:
    root = make(tmp_path / "set")
    write(root / file)
    assert f"{root / file}: {said}" in refusal(root)
    assert "get it from https://" in refusal(root)


def test_hdf5_that_is_damaged_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    root = forms.modelnet_hdf5(tmp_path / "h5")
    path = root / "ply_data_test0.h5"
    whole = path.read_bytes()
    for at in range(0, 2048, 16):
        path.write_bytes(whole[:at] + bytes(255 - byte for byte in whole[at : at + 4]) + whole[at + 4 :])
        with suppress(DataError):
            assert len(load_sets([root])) == 1


def test_hdf5_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    root = forms.modelnet_hdf5(tmp_path / "h5")
    with h5py.File(root / "ply_data_test0.h5", "w") as file:
        file.create_dataset("data", (10**7, 2048, 3), "f4", chunks=(1, 2048, 3))
        file["label"] = LABELS
    assert "'data' claims the shape (10000000, 2048, 3)" in refusal(root)


@pytest.mark.parametrize(
    ("labels", "pid", "said"),
    [
        (LABELS, np.full((2, 64), 1.5), "'pid' holds 1.5, expected"),
        (LABELS, np.full((2, 64), np.nan), "'pid' holds nan, expected"),
        (LABELS, np.zeros((2, 63), np.uint8), "'pid' is uint8 (2, 63), expected integers (2, 64)"),
        (np.array([0, 16]), np.zeros((2, 64)), "'label' holds 16, expected"),
    ],
)
def test_wrong_parts_in_hdf5(tmp_path: Path, labels: np.ndarray, pid: np.ndarray, said: str) -> None:
    root = forms.shapenetpart_hdf5(tmp_path / "hdf5_data")
    forms.write_h5(root / "ply_data_val0.h5", labels, pid)
    assert f"ply_data_val0.h5: {said}" in refusal(root)
    assert "shapenet_part_seg_hdf5_data.zip" in refusal(root)


@pytest.mark.parametrize("part", [77, 1.5, np.nan, 10, -1])
def test_wrong_parts_in_text(tmp_path: Path, part: float) -> None:
    root = forms.shapenetpart_text(tmp_path / "parts")
    table = np.loadtxt(root / "02691156" / "b.txt")
    table[7, 6] = part
    np.savetxt(root / "02691156" / "b.txt", table)
    assert f"b.txt: a part is numbered {part:g}, but airplane has the parts 0 to 3; get" in refusal(root)


def test_text_without_parts(tmp_path: Path) -> None:
    root = forms.shapenetpart_text(tmp_path / "parts")
    np.savetxt(root / "02691156" / "b.txt", np.ones((9, 6)))
    assert (
        "b.txt: expected rows x y z nx ny nz part (the data set has 7 columns, the rows have 6)"
        in refusal(root)
    )


PART_LIST = "train_test_split/shuffled_test_file_list.json"


@pytest.mark.parametrize(
    ("make", "file", "text", "said"),
    [
        (forms.shapenet55, "ShapeNet-55/test.txt", "02691156-/../../x.npy", "no plain name"),
        (forms.shapenet55, "ShapeNet-55/test.txt", "02691156-a1.npy", "in the list for training too"),
        (forms.shapenet55, "ShapeNet-55/test.txt", "99-a.npy", "begins with no category"),
        (forms.modelnet_text, "modelnet40_test.txt", "airplane_/../../x", "no plain name"),
        (forms.modelnet_text, "modelnet40_test.txt", "airplane_0001", "in the list for training too"),
        (forms.modelnet_text, "modelnet40_test.txt", "sofa_0001", "sofa is not in the shape names"),
        (forms.shapenetpart_text, PART_LIST, "[]", "is empty"),
        (forms.shapenetpart_text, PART_LIST, '["shape_data/02691156/b"]', "in the list for training too"),
        (forms.shapenetpart_text, PART_LIST, '["shape_data/../x"]', "expected shape_data/"),
    ],
)
def test_wrong_lists(tmp_path: Path, make: Callable[[Path], Path], file: str, text: str, said: str) -> None:
    root = make(tmp_path / "set")
    (root / file).write_text(text)
    assert f"{root / file}: " in refusal(root)
    assert said in refusal(root)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"up": "x"}, "'up' is 'x', expected 'y' or 'z'"),
        ({"up": 3}, "'up' is '3'"),
        ({"points": POINTS[:, :0]}, "'points' is int16 (3, 0, 3)"),
        ({"classes": np.full(2, 0x110000, np.uint32).view("<U1")}, "not a data set of this form"),
        ({"classes": ["a", "a"]}, "'classes' holds a name twice"),
        ({"label": np.array([0, 1, 1 << 63], np.uint64)}, "'label' holds 9223372036854775808, expected"),
        ({"label": [0, 1, 1 << 40]}, "'label' holds 1099511627776, expected whole numbers from -1 to 65535"),
    ],
)
def test_wrong_arrays_in_npz(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", **({"points": POINTS} | arrays))
    assert said in refusal(tmp_path / "a.npz")


def test_names_kept_as_bytes_are_texts(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POINTS, label=[0, 1, 1], classes=[b"chair", b"table"], up=b"y")
    assert load_npz(tmp_path / "a.npz").classes == ("chair", "table")


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
    assert f"{name}: {said}; give an .npz set, a folder of them" in refusal(tmp_path / name)
