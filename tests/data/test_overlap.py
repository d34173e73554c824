"""What a training side shares with a test side is found and left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foundry_edge.data.corpus import training_side
from foundry_edge.data.overlap import descriptors, geometry_hash, near_copies, surface_ratio
from foundry_edge.data.shapes import TEST, TRAIN, ShapeSet, load_sets


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))


def surface(kind: int, seed: int, count: int = 1024) -> np.ndarray:
    """A sample of one of several fixed, asymmetric surfaces."""
    rng = np.random.default_rng(seed)
    shape = np.random.default_rng(1000 + kind)
    corners = shape.uniform(-1, 1, size=(6, 3, 3))
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(6, count, p=areas / areas.sum())]
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    mix = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    return np.asarray(np.einsum("nc,ncd->nd", mix, chosen), dtype=np.float32)


def shape_set(name: str, clouds: list[np.ndarray], split: list[int]) -> ShapeSet:
    count = len(clouds)
    ids = tuple(f"{name}{i}" for i in range(count))
    label = np.zeros(count, dtype=np.int64)
    return ShapeSet(name, np.stack(clouds), label, ("x",), np.array(split, dtype=np.uint8), ids)


def test_the_hash_does_not_depend_on_the_order_of_points() -> None:
    cloud = surface(0, 0)
    assert geometry_hash(cloud) == geometry_hash(cloud[::-1].copy())
    assert geometry_hash(cloud) != geometry_hash(cloud + np.float32(1e-3))


def test_descriptors_are_blind_to_rotation_and_size() -> None:
    cloud = surface(0, 0)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = (cloud @ turn * 3 + 5).astype(np.float32)
    np.testing.assert_allclose(descriptors(cloud[None]), descriptors(turned[None]), atol=1e-4)


def test_two_samples_of_one_surface_are_copies_whatever_axis_is_up() -> None:
    one, other = surface(0, 1), surface(0, 2)[:, [1, 2, 0]] * np.float32(0.4) + 3
    assert surface_ratio(one, other) < 1.1
    assert surface_ratio(one, surface(1, 2)) > 1.2
    found = near_copies(np.stack([surface(k, 1) for k in range(4)]), other[None])
    assert found.tolist() == [True, False, False, False]
    assert not near_copies(np.stack([one]), np.zeros((0, 1024, 3), dtype=np.float32)).any()


def test_a_training_shape_that_another_set_tests_on_is_left_out() -> None:
    one = shape_set("one", [surface(k, 1) for k in range(4)], [0, 0, 0, 1])
    two = shape_set("two", [surface(0, 2), surface(7, 1), surface(3, 1)], [1, 0, 0])
    for _ in range(2):  # the second time from the cache
        kept = training_side([one, two])
        assert [shapes.ids for shapes in kept] == [("one1", "one2"), ("two1",)]


def test_a_set_keeps_the_near_copies_of_its_own_published_split() -> None:
    alone = shape_set("one", [surface(0, 1), surface(0, 2)], [0, 1])
    assert [shapes.ids for shapes in training_side([alone])] == [("one0",)]


@pytest.mark.timeout(300)
def test_no_test_shape_of_any_set_is_in_the_pre_training_data(shared: Path) -> None:
    """Exact copies over everything; the screen on a sample, because it takes minutes over all."""
    sets = load_sets([shared / "data"])
    by_name = {shapes.name: shapes for shapes in sets}
    tested = {geometry_hash(xyz) for shapes in sets for xyz in shapes.part(TEST).xyz}
    small = [shapes for shapes in sets if shapes.name in ("parts_psb", "parts_human")]
    kept = training_side(small)
    assert sum(map(len, kept)) > 0.9 * sum(len(shapes.part(TRAIN)) for shapes in small) - 20
    for shapes in kept:
        assert not {geometry_hash(xyz) for xyz in shapes.xyz} & tested
        for other in small:
            if other.name != shapes.name:
                assert not near_copies(shapes.xyz, other.part(TEST).xyz).any()
    human = by_name["parts_psb"].classes.index("Human")
    assert human not in next(shapes.label for shapes in kept if shapes.name == "parts_psb")


def test_no_two_sides_share_a_cloud_exactly(shared: Path) -> None:
    sets = load_sets([shared / "data"])
    tested = {geometry_hash(xyz) for shapes in sets for xyz in shapes.part(TEST).xyz}
    copies = [
        shapes.name for shapes in sets for xyz in shapes.part(TRAIN).xyz if geometry_hash(xyz) in tested
    ]
    assert copies == []
