"""Every published form is recognised and read with its official split; what is missing is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from foundry_edge.data.shape_set import POINTS, ShapeSet
from foundry_edge.data.shapes import load_sets
from foundry_edge_runtime.errors import DataError, ScanError
from tests.data import forms


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))


def one(path: Path) -> ShapeSet:
    (shapes,) = load_sets([path])
    assert shapes.xyz.dtype == np.float32
    assert np.isfinite(shapes.xyz).all()
    np.testing.assert_allclose(np.linalg.norm(shapes.xyz, axis=2).max(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(shapes.xyz.mean(axis=1), 0, atol=0.02)
    assert len(shapes.xyz) == len(shapes.label) == len(shapes.split) == len(set(shapes.ids))
    return shapes


def names(shapes: ShapeSet) -> list[str]:
    return [shapes.classes[i] for i in shapes.label]


def extent(shapes: ShapeSet) -> int:
    """The axis along which the first shape is largest."""
    return int(np.ptp(shapes.xyz[0], axis=0).argmax())


def test_off_folders_are_sampled_by_area_with_the_official_split(tmp_path: Path) -> None:
    root = forms.off_folders(tmp_path / "ModelNet10")
    shapes = one(root)
    assert shapes.classes == ("chair", "table")
    assert names(shapes) == ["chair"] * 3 + ["table"] * 3
    assert shapes.split.tolist() == [1, 0, 0, 1, 0, 0]
    assert shapes.xyz.shape == (6, POINTS, 3)
    assert len(np.unique(shapes.xyz[0], axis=0)) > 0.99 * POINTS  # surface points, not four vertices
    assert not np.array_equal(shapes.xyz[1], shapes.xyz[2])  # equal meshes, each sampled by its own seed
    np.testing.assert_array_equal(one(root).xyz, shapes.xyz)


def test_a_changed_mesh_is_sampled_again(tmp_path: Path) -> None:
    root = forms.off_folders(tmp_path / "set")
    before = one(root).xyz[1]
    changed = root / "chair" / "train" / "chair_0001.off"
    changed.write_text(forms.TETRAHEDRON.format(h=2.25))
    assert not np.array_equal(one(root).xyz[1], before)


def test_modelnet_text(tmp_path: Path) -> None:
    shapes = one(forms.modelnet_text(tmp_path / "resampled"))
    assert shapes.name == "modelnet40"
    assert names(shapes) == ["airplane", "night_stand", "airplane"]
    assert shapes.split.tolist() == [0, 0, 1]
    assert extent(shapes) == 2


def test_a_split_file_names_modelnet10(tmp_path: Path) -> None:
    root = forms.modelnet_text(tmp_path / "resampled")
    forms.modelnet_text(root, "10")
    assert one(root / "modelnet10_test.txt").name == "modelnet10"
    assert one(root).name == "modelnet40"


def test_modelnet_hdf5(tmp_path: Path) -> None:
    shapes = one(forms.modelnet_hdf5(tmp_path / "h5"))
    assert names(shapes) == ["airplane", "bathtub"] * 3
    assert shapes.split.tolist() == [0, 0, 0, 0, 1, 1]
    assert extent(shapes) == 2


def test_scanobjectnn_variants(tmp_path: Path) -> None:
    root = forms.scanobjectnn(tmp_path / "h5_files")
    found = [shapes.name for shapes in load_sets([root])]
    assert found == ["scanobjectnn_obj_bg", "scanobjectnn_pb_t50_rs", "scanobjectnn_obj_only"]
    shapes = one(root / "main_split" / "test_objectdataset_augmentedrot_scale75.h5")
    assert shapes.name == "scanobjectnn_pb_t50_rs"
    assert names(shapes) == ["bag", "chair", "toilet", "chair", "table"]
    assert shapes.split.tolist() == [0, 0, 0, 1, 1]
    assert extent(shapes) == 2


@pytest.mark.parametrize("folder", ["", "ShapeNet-55"])
def test_shapenet55(tmp_path: Path, folder: str) -> None:
    shapes = one(forms.shapenet55(tmp_path / "ShapeNet55-34") / folder)
    assert names(shapes) == ["airplane", "table", "chair"]
    assert len(shapes.classes) == 55
    assert shapes.split.tolist() == [0, 0, 1]
    assert extent(shapes) == 2


def test_shapenetpart_text(tmp_path: Path) -> None:
    shapes = one(forms.shapenetpart_text(tmp_path / "parts"))
    assert names(shapes) == ["airplane", "airplane", "table"]
    assert shapes.split.tolist() == [0, 0, 1]  # val is trained on, as papers do
    assert len(shapes.part_names) == len(shapes.part_category) == 50
    assert shapes.part_label is not None
    first = shapes.part_category.index(int(shapes.label[2]))
    middle = np.abs(shapes.xyz[2, :, 0]) > 0.05  # the part follows x, which is left as it was
    np.testing.assert_array_equal(
        shapes.part_label[2][middle], first + (shapes.xyz[2, middle, 0] > 0).astype(np.uint8)
    )


def test_shapenetpart_hdf5(tmp_path: Path) -> None:
    shapes = one(forms.shapenetpart_hdf5(tmp_path / "hdf5_data"))
    assert np.bincount(shapes.split).tolist() == [32, 16]
    assert shapes.part_label is not None
    category = np.array(shapes.part_category)[shapes.part_label]
    np.testing.assert_array_equal(category, np.repeat(shapes.label[:, None], 64, axis=1))


def test_class_folders_of_clouds_hold_out_a_fifth_of_each_class(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(10):
            np.save(tmp_path / "set" / label / f"{i}.npy", forms.cloud(50, i))
    shapes = one(tmp_path / "set")
    for number in (0, 1):
        assert np.bincount(shapes.split[shapes.label == number]).tolist() == [8, 2]
    np.testing.assert_array_equal(one(tmp_path / "set").split, shapes.split)


def test_a_flat_folder_of_scans_is_unlabelled_and_trained_on(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(3):
        np.savetxt(tmp_path / "set" / f"{i}.xyz", forms.cloud(50, i))
    shapes = one(tmp_path / "set")
    assert shapes.label.tolist() == [-1] * 3
    assert shapes.split.tolist() == [0] * 3
    assert shapes.classes == ()


Make = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("make", "name", "remove", "where"),
    [
        (forms.modelnet_text, "a", "airplane/airplane_0002.txt", "modelnet40_normal_resampled.zip"),
        (forms.modelnet_text, "a", "modelnet40_shape_names.txt", "modelnet40_normal_resampled.zip"),
        (forms.modelnet_hdf5, "a", "ply_data_train1.h5", "modelnet40_ply_hdf5_2048.zip"),
        (forms.scanobjectnn, "a", "main_split_nobg/training_objectdataset.h5", "scanobjectnn"),
        (forms.shapenet55, "ShapeNet55", "shapenet_pc/03001627-c3.npy", "Point-BERT"),
        (forms.shapenet55, "ShapeNet55", "ShapeNet-55/test.txt", "Point-BERT"),
        (forms.shapenetpart_text, "a", "04379243/c.txt", "v0_normal.zip"),
        (forms.shapenetpart_text, "a", "train_test_split/shuffled_val_file_list.json", "v0_normal.zip"),
        (forms.shapenetpart_hdf5, "a", "ply_data_val0.h5", "seg_hdf5_data.zip"),
    ],
)
def test_a_missing_file_is_named_with_where_to_get_it(
    tmp_path: Path, make: Make, name: str, remove: str, where: str
) -> None:
    root = make(tmp_path / name)
    (root / remove).unlink()
    with pytest.raises(DataError) as caught:
        load_sets([root])
    assert Path(remove).name in str(caught.value)
    assert where in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["modelnet40_normal_resampled", "modelnet40_ply_hdf5_2048", "main_split", "hdf5_data", "ShapeNet55"],
)
def test_an_empty_folder_of_a_known_name_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="https://"):
        load_sets([tmp_path / name])


def test_a_class_without_training_scans_is_refused(tmp_path: Path) -> None:
    root = forms.off_folders(tmp_path / "ModelNet10")
    for scan in (root / "table" / "train").iterdir():
        scan.unlink()
    with pytest.raises(
        DataError, match=r"table: class table has no scan below train.*modelnet\.cs\.princeton\.edu"
    ):
        load_sets([root])


def test_scans_outside_the_split_are_refused(tmp_path: Path) -> None:
    root = forms.off_folders(tmp_path / "ModelNet10")
    (root / "chair" / "stray.off").write_text(forms.TETRAHEDRON.format(h=1))
    with pytest.raises(DataError, match=r"chair/stray\.off"):
        load_sets([root])


def test_a_damaged_scan_is_named(tmp_path: Path) -> None:
    root = forms.off_folders(tmp_path / "ModelNet10")
    (root / "chair" / "train" / "chair_0001.off").write_text("OFF\n9 9 9\n0 0 0\n")
    with pytest.raises(ScanError, match=r"chair_0001\.off"):
        load_sets([root])


def test_damaged_hdf5_is_named(tmp_path: Path) -> None:
    root = forms.modelnet_hdf5(tmp_path / "h5")
    path = root / "ply_data_test0.h5"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"ply_data_test0\.h5"):
        load_sets([root])


def test_hdf5_does_not_open_other_files(tmp_path: Path) -> None:
    root = forms.modelnet_hdf5(tmp_path / "h5")
    with h5py.File(root / "ply_data_test0.h5", "a") as file:
        del file["data"]
        file["data"] = h5py.ExternalLink(str(root / "ply_data_train0.h5"), "data")
    with pytest.raises(DataError, match="in the file itself"):
        load_sets([root])


def test_wrong_part_numbers_are_refused(tmp_path: Path) -> None:
    root = forms.shapenetpart_hdf5(tmp_path / "hdf5_data")
    forms.write_h5(root / "ply_data_test0.h5", np.zeros((2, 1)), np.full((2, 64), 50))
    with pytest.raises(DataError, match=r"test0\.h5: 'pid' holds 50, expected whole numbers from 0 to 49"):
        load_sets([root])
