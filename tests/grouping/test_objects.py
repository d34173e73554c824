"""Grouping of objects: every form gives the indices of the plain definition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from foundry_edge_runtime.grouping import (
    Preprocessing,
    canonical_order,
    group,
    group_batch,
    group_indices,
    group_points,
    nearest_neighbours,
    normalise,
)
from tests.grouping import reference
from tests.grouping.clouds import MAKERS, cloud

SIZES = ((1, 3, 4), (5, 9, 4), (64, 16, 64), (300, 12, 20))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("count", "groups", "size"), SIZES)
def test_indices_are_those_of_the_definition(
    form: str, kind: str, count: int, groups: int, size: int
) -> None:
    points = cloud(kind, count)
    points = points[canonical_order(points)]
    spec = Preprocessing(points=count, groups=groups, group_size=size)
    centres, neighbours = group_indices(points, spec)
    expected = reference.sample(points, groups)
    np.testing.assert_array_equal(centres, expected)
    np.testing.assert_array_equal(neighbours, reference.neighbours(points, expected, min(size, count)))


@pytest.mark.parametrize("kind", ["tied", "duplicated", "collinear"])
def test_indices_are_those_in_float64_where_float32_is_exact(form: str, kind: str) -> None:
    points = np.round(cloud(kind, 500) * 8).astype(np.float32)
    points = points[canonical_order(points)]
    centres, neighbours = group_indices(points, Preprocessing(points=500, groups=30, group_size=32))
    wide = points.astype(np.float64)
    wide_start = reference.start(points)  # the mean is rounded to float32 in the rule itself
    expected = [wide_start]
    while len(expected) < 30:
        nearest = np.min([reference.squared(wide, wide[i]) for i in expected], axis=0)
        expected.append(int(nearest.argmax()))
    np.testing.assert_array_equal(centres, expected)
    np.testing.assert_array_equal(neighbours, reference.neighbours(wide, expected, 32))


@pytest.mark.parametrize("kind", ["random", "surface", "outlier"])
def test_distances_are_those_in_float64_within_rounding(form: str, kind: str) -> None:
    points = normalise(cloud(kind, 1024))
    points = points[canonical_order(points)]
    centres, neighbours = group_indices(points, Preprocessing())
    wide = points.astype(np.float64)
    squares = np.array([reference.squared(wide, wide[i]) for i in centres])
    found = np.take_along_axis(squares, neighbours, axis=1)
    np.testing.assert_allclose(found, np.sort(squares, axis=1)[:, :32], rtol=1e-5, atol=1e-12)
    for place in range(1, len(centres)):
        nearest = squares[:place].min(axis=0)
        assert nearest[centres[place]] >= nearest.max() * (1 - 1e-5)


def test_order_of_the_points_does_not_matter(form: str) -> None:
    points = cloud("duplicated", 3000)
    shuffled = points[np.random.default_rng(1).permutation(len(points))]
    one, other = (group_points(each, Preprocessing(points=256, groups=16)) for each in (points, shuffled))
    np.testing.assert_array_equal(one.groups, other.groups)
    np.testing.assert_array_equal(one.centers, other.centers)


def test_threads_get_the_groups_of_their_own_cloud(form: str) -> None:
    spec = Preprocessing(points=128, groups=8, group_size=16)
    clouds = [cloud("random", 400, seed) for seed in range(12)]
    alone = [group_points(each, spec) for each in clouds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: group_points(each, spec), clouds))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.groups, other.groups)


def test_a_batch_is_its_clouds_in_order(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "usable_cpus", lambda: 3)
    monkeypatch.setattr(group, "_PER_THREAD", 2)
    spec = Preprocessing(points=64, groups=8, group_size=16)
    clouds = [cloud("random", 50 + 40 * seed, seed) for seed in range(7)]
    together = group_batch(clouds, spec)
    assert len(together) == 7
    for one, points in zip(together, clouds, strict=True):
        alone = group_points(points, spec)
        np.testing.assert_array_equal(one.groups, alone.groups)
        np.testing.assert_array_equal(one.centers, alone.centers)


def test_tie_at_the_last_neighbour_goes_to_the_lowest_index() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=np.float32)
    assert nearest_neighbours(points, points[:1], 3).tolist() == [[0, 1, 2]]
    assert nearest_neighbours(points[::-1], points[:1], 3).tolist() == [[4, 0, 1]]
