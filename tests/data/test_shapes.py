"""Data sets, groupings, views and labels."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.data.groupings import AUGMENT_DRAWS, augment, cached_groupings, group_shapes
from foundry_edge.data.labels import canonical, find_label, merged, relabel
from foundry_edge.data.npz import save_npz
from foundry_edge.data.one_sided import one_sided
from foundry_edge.data.samples import load_samples
from foundry_edge.data.scan_views import grouped_views, scan_view
from foundry_edge.data.scenes import make_scenes
from foundry_edge.data.shapes import ShapeSet, load_npz, load_sets
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing, group_points

SPEC = Preprocessing(points=128, groups=16, group_size=8)
PLAIN = np.zeros((3, 50), np.uint8)


def sphere(count: int, seed: int = 0) -> np.ndarray:
    xyz = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(xyz / np.linalg.norm(xyz, axis=1, keepdims=True), dtype=np.float32)


def write(path: Path, **arrays: Any) -> Path:
    points = np.random.default_rng(0).integers(-30000, 30000, (3, 50, 3)).astype(np.int16)
    np.savez(path, **{"points": points, **arrays})
    return path


def test_y_up_sets_are_turned(tmp_path: Path) -> None:
    upright = load_npz(write(tmp_path / "a.npz"))
    turned = load_npz(write(tmp_path / "b.npz", up="y"))
    np.testing.assert_array_equal(turned.xyz[..., 2], upright.xyz[..., 1])
    np.testing.assert_allclose(
        np.linalg.norm(turned.xyz, axis=2), np.linalg.norm(upright.xyz, axis=2), rtol=1e-6
    )


@pytest.mark.parametrize("points", [np.zeros((3, 50), np.int16), np.zeros((3, 50, 3), np.float32)])
def test_points_of_another_form_are_refused(tmp_path: Path, points: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"a\.npz.*points"):
        load_npz(write(tmp_path / "a.npz", points=points))


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"label": [1, 2, 3], "classes": ["a", "b", "c"]}, "'label' holds 3, expected .* from -1 to 2"),
        ({"label": [0, -2, 1]}, "'label' holds -2, expected"),
        ({"label": [0, 1]}, r"'label' is int64 \(2,\), expected integers \(3,\)"),
        ({"label": [0.5, 1, 1]}, "'label' holds 0.5, expected whole numbers"),
        ({"label": ["a", "b", "c"]}, "'label' is <U1"),
        ({"classes": "chair"}, "'classes' is of shape"),
        ({"split": [0, 1]}, "'split' is int64"),
        ({"split": [0, 1, 2]}, "'split' holds 2, expected whole numbers from 0 to 1"),
        ({"id": ["a", "b"]}, "'id' is of shape"),
        ({"part": PLAIN, "part_category": [0, 0], "label": [0, 0, 0]}, "'part_category' is"),
        (
            {"part": PLAIN, "part_category": [1], "label": [0, 0, 0]},
            "'part_category' holds 1",
        ),
        ({"part": PLAIN, "part_category": [0]}, "'part_category' names classes"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=rf"a\.npz.*{named}.*docs/data\.md") as caught:
        load_npz(write(tmp_path / "a.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_labels_without_classes_are_numbers(tmp_path: Path) -> None:
    shapes = load_npz(write(tmp_path / "a.npz", label=np.array([2, -1, 0], np.int8)))
    assert shapes.classes == ("0", "1", "2")
    assert relabel(shapes, merged([shapes])).tolist() == [2, -1, 0]


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_set_that_is_written_is_read_back(tmp_path: Path, up: str) -> None:
    parts = {"part": np.full((3, 50), 1, np.uint8), "part_names": ["leg", "seat"], "part_category": [0, 0]}
    named = {"label": [0, -1, 0], "classes": ["chair"], "split": [0, 1, 1], "id": ["a", "b", "c"]}
    for arrays in ({}, named, named | parts):
        first = load_npz(write(tmp_path / "a.npz", up=up, **arrays))
        save_npz(tmp_path / "b.npz", first)
        second = asdict(load_npz(tmp_path / "b.npz"))
        for name, value in (asdict(first) | {"name": "b"}).items():
            np.testing.assert_array_equal(second[name], value, err_msg=name)


def test_scan_views_are_turned_or_seen_from_one_side(tmp_path: Path) -> None:
    shape = sphere(200)
    shape[:, 2] *= 0.5
    for view in range(4):
        points, source = scan_view(shape, view, np.random.default_rng(view))
        known = source >= 0
        np.testing.assert_allclose(points[known, 2], shape[source[known], 2], atol=0.07)  # jittered copies
        assert np.array_equal(points, shape) == (view == 0)
        assert (len(set(source[known])) == 200) == (view % 2 == 0)
    grouped = grouped_views(np.stack([shape, shape]), SPEC, 3, 0, tmp_path)
    assert grouped.groups.shape[:2] == (2, 3)
    again = grouped_views(np.stack([shape, shape]), SPEC, 3, 0, tmp_path)
    assert torch.equal(grouped.centers, again.centers)
    assert len(list(tmp_path.glob("groupings-*.pt"))) == 3


def test_truncated_and_empty_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a\.npz"):
        load_npz(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.npz"):
        load_sets([tmp_path / "empty"])


def test_cached_groupings_are_the_groupings(tmp_path: Path) -> None:
    shapes = np.stack([sphere(200, i) for i in range(3)])
    fresh = group_shapes(shapes, SPEC, 2, seed=1, one_sided_variants=1)
    cached_groupings(shapes, SPEC, 2, 1, tmp_path, 1)
    again = cached_groupings(shapes, SPEC, 2, 1, tmp_path, 1)
    assert torch.equal(fresh.groups, again.groups)
    assert torch.equal(fresh.centers, again.centers)
    (path,) = tmp_path.iterdir()
    for damaged in (path.read_bytes()[:-500], b"", b"nothing that torch wrote"):
        path.write_bytes(damaged)
        assert torch.equal(cached_groupings(shapes, SPEC, 2, 1, tmp_path, 1).groups, fresh.groups)
        assert torch.equal(torch.load(path, weights_only=True)["groups"], fresh.groups)
    torch.save({"other": 1}, path)
    assert torch.equal(cached_groupings(shapes, SPEC, 2, 1, tmp_path, 1).groups, fresh.groups)
    plain = group_points(shapes[0, :128], SPEC)
    np.testing.assert_allclose(fresh.groups[0, 0].float(), plain.groups, atol=1e-3)


def test_autocast_does_not_round_augmented_coordinates() -> None:
    generator = torch.Generator().manual_seed(0)
    xyz, centers = torch.rand(4, 8, 16, 3, generator=generator), torch.rand(4, 8, 3, generator=generator)
    draws = torch.rand(4, AUGMENT_DRAWS, generator=generator)
    plain = augment(xyz, centers, draws)
    with torch.autocast("cpu", torch.bfloat16):
        under = augment(xyz, centers, draws)
    assert all(torch.equal(one, other) for one, other in zip(plain, under, strict=True))


def test_a_spread_part_shows_all_classes_of_a_sorted_set() -> None:
    shapes = replace(load_samples().first(200), label=np.repeat(np.arange(10), 20))
    assert np.bincount(shapes.spread(50).label).tolist() == 10 * [5]
    assert [len(shapes.spread(count)) for count in (1, 7, 200, 1000)] == [1, 7, 200, 200]


def test_augmentation_moves_groups_and_centres_alike() -> None:
    xyz = torch.from_numpy(sphere(64)).view(1, 8, 8, 3)
    centers = xyz[:, :, 0]
    draws = torch.rand(len(xyz), AUGMENT_DRAWS, generator=torch.Generator().manual_seed(0))
    groups, moved = augment(xyz - centers[:, :, None], centers, draws)
    torch.testing.assert_close(groups + moved[:, :, None], augment(xyz, centers, draws)[0])
    scale = (groups + moved[:, :, None]).norm(dim=-1)
    assert float(scale.min()) > 0.79
    assert float(scale.max()) < 1.21


def test_one_side_of_a_sphere_is_about_half_of_it() -> None:
    rng = np.random.default_rng(0)
    xyz = sphere(2000)
    for _ in range(10):
        seen = one_sided(xyz, rng)
        assert seen.shape == xyz.shape
        kept = len({tuple(p) for p in xyz} & {tuple(p) for p in seen}) / len(xyz)
        assert 0.3 < kept < 0.75


def test_scenes_are_normalised_and_reproducible() -> None:
    shapes = np.stack([sphere(256, i) for i in range(4)])
    scenes = make_scenes(shapes, 5, seed=2)
    assert scenes.shape == (5, 256, 3)
    assert float(np.linalg.norm(scenes, axis=2).max()) < 1.0001
    np.testing.assert_array_equal(scenes, make_scenes(shapes, 5, seed=2))
    assert not np.array_equal(scenes, make_scenes(shapes, 5, seed=3))


def test_labels_merge_by_meaning() -> None:
    assert [canonical(n) for n in ("NonWheelChair", "chair", "RoundTable", "night_stand", "DeskLamp")] == [
        "chair",
        "chair",
        "table",
        "night_stand",
        "desk_lamp",
    ]
    one = _named("one", ("Bed", "RoundTable"))
    two = _named("two", ("table", "odd"))
    vocabulary = merged([one, two])
    assert vocabulary == ("bed", "odd", "table")
    assert relabel(one, vocabulary).tolist() == [0, 2]
    assert relabel(two, ("table",)).tolist() == [0, -1]


@pytest.mark.parametrize(
    ("name", "labels", "found"),
    [
        ("armchair", ("armchair", "chair"), "armchair"),
        ("chair", ("armchair", "Chair", "chair"), "chair"),
        ("chair", ("armchair", "Chair"), "Chair"),
        ("chair", ("armchair", "Table"), "armchair"),
        ("Chair", ("Table", "Chair"), "Chair"),
        ("person", ("bike", "person"), "person"),
        ("person", ("humanoid",), "humanoid"),
        ("RoundTable", ("Chair", "Table"), "Table"),
        ("boat", ("Chair", "Table"), None),
    ],
)
def test_a_class_is_found_by_name_before_meaning(
    name: str, labels: tuple[str, ...], found: str | None
) -> None:
    assert find_label(name, labels) == (-1 if found is None else labels.index(found))


def test_classes_of_a_set_keep_their_labels_in_a_vocabulary_of_their_own_names() -> None:
    shapes = load_samples()
    np.testing.assert_array_equal(relabel(shapes, shapes.classes), shapes.label)


def _named(name: str, classes: tuple[str, ...]) -> ShapeSet:
    count = len(classes)
    xyz = np.zeros((count, 4, 3), dtype=np.float32)
    return ShapeSet(name, xyz, np.arange(count), classes, np.zeros(count, dtype=np.uint8), classes)
