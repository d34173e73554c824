"""Grouping of scenes: the indices of the plain definition, whatever the cloud."""

from __future__ import annotations

import numpy as np
import pytest

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import canonical_order, group_scene
from tests.grouping import reference
from tests.grouping.clouds import MAKERS, cloud

SIZES = ((1, 1, 1), (2, 2, 2), (33, 33, 33), (700, 40, 32), (1500, 60, 8))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("count", "groups", "size"), SIZES)
def test_indices_are_those_of_the_definition(
    form: str, kind: str, count: int, groups: int, size: int
) -> None:
    points = cloud(kind, count)
    found = group_scene(points, groups, size)
    order = canonical_order(points)
    centres = reference.sample(points[order], groups)
    neighbours = reference.neighbours(points[order], centres, size)
    np.testing.assert_array_equal(found.centre_index, order[centres])
    np.testing.assert_array_equal(found.neighbour_index, order[np.array(neighbours)])


@pytest.mark.parametrize("kind", ["random", "duplicated", "tied"])
def test_order_of_the_points_does_not_matter(form: str, kind: str) -> None:
    points = cloud(kind, 2000)
    shuffled = points[np.random.default_rng(1).permutation(len(points))]
    one, other = (group_scene(each, 50, 32) for each in (points, shuffled))
    np.testing.assert_array_equal(one.centers, other.centers)
    np.testing.assert_array_equal(one.groups(), other.groups())


def test_chunks_are_all_groups_relative_to_their_centres() -> None:
    points = cloud("random", 500)
    found = group_scene(points, 30, 16)
    parts = list(found.chunks(7))
    assert [len(groups) for _, groups in parts] == [7, 7, 7, 7, 2]
    whole = np.concatenate([groups for _, groups in parts])
    np.testing.assert_array_equal(whole, points[found.neighbour_index] - found.centers[:, None])
    np.testing.assert_array_equal(whole[:, 0], 0)


@pytest.mark.parametrize(("groups", "size"), [(0, 4), (4, 0), (11, 4), (4, 11)])
def test_impossible_sizes_are_refused(groups: int, size: int) -> None:
    with pytest.raises(InputError, match=r"from 1 to the 10 points .* got"):
        group_scene(cloud("random", 10), groups, size)
