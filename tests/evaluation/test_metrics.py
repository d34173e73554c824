"""mIoU, CKA, interpolation and the validation split against definitions spelt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foundry_edge.data.shape_set import ShapeSet
from foundry_edge.evaluation.validation import validation_mask
from foundry_edge.measures.cka import linear_cka
from foundry_edge.measures.miou import PartLists, part_lists, part_metrics, shape_iou
from foundry_edge.models.interpolate import interpolate, model_frame, nearest_centres
from foundry_edge_runtime.grouping import Preprocessing, group_points


def test_iou_of_a_shape_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 1])
    assert shape_iou(predicted, truth, (0, 1)) == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert shape_iou(predicted, truth, (0, 1, 2)) == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)  # absent in both
    assert shape_iou(np.full(6, 2), truth, (0, 1, 2)) == 0  # named, but absent


def test_class_and_instance_means_differ_as_defined() -> None:
    truth = np.array([[0, 0], [0, 0], [0, 0], [1, 1]])
    predicted = np.array([[0, 0], [0, 0], [0, 0], [2, 2]])
    category = np.array([0, 0, 0, 1])
    lists = PartLists(allowed=((0,), (1, 2)), scored=((0,), (1, 2)))
    metrics = part_metrics(predicted, truth, category, lists)
    assert metrics["instance_miou"] == pytest.approx(75)
    assert metrics["class_miou"] == pytest.approx(50)
    assert metrics["point_accuracy"] == pytest.approx(75)
    assert metrics["present_miou"] == pytest.approx(75)


def _set(part: np.ndarray, split: list[int], category: tuple[int, ...]) -> ShapeSet:
    count = len(part)
    return ShapeSet(
        name="parts",
        xyz=np.zeros((count, part.shape[1], 3), dtype=np.float32),
        label=np.array([0, 0, 1, 1]),
        classes=("one", "two"),
        split=np.array(split, dtype=np.uint8),
        ids=tuple("abcd"),
        part_label=part.astype(np.uint8),
        part_names=("p", "q", "r", "s"),
        part_category=category,
    )


def test_parts_absent_from_the_test_side_do_not_count() -> None:
    part = np.array([[0, 1], [0, 0], [2, 3], [3, 2]])
    lists = part_lists(_set(part, [0, 1, 0, 1], (0, 0, 1, 1)))
    assert lists.allowed == ((0, 1), (2, 3))
    assert lists.scored == ((0,), (2, 3))


def test_without_a_list_the_training_shapes_say_which_parts_are_allowed() -> None:
    part = np.array([[0, 1], [0, 3], [2, 2], [3, 2]])
    lists = part_lists(_set(part, [0, 1, 0, 1], ()))
    assert lists.allowed == ((0, 1), (2,))
    assert lists.scored == ((0, 3), (2, 3))


def test_cka_is_blind_to_rotation_and_scale_and_low_for_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=generator)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    assert linear_cka(3 * x @ turn + 1, x) == pytest.approx(1, abs=1e-6)
    assert linear_cka(torch.randn(500, 6, generator=generator), x) < 0.1
    kernels = [(part - part.mean(0)).double() @ (part - part.mean(0)).double().T for part in (x, x**3)]
    reference = (kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm())
    assert linear_cka(x, x**3) == pytest.approx(float(reference), rel=1e-6)


def test_interpolation_returns_a_tokens_own_feature_and_weighs_by_distance() -> None:
    centers = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]])
    xyz = torch.tensor([[[0.0, 0, 0], [0.5, 0.0, 0]]])
    tokens = torch.eye(4)[None]
    near = nearest_centres(xyz, centers)
    out = interpolate(tokens, near.index, near.weight)
    torch.testing.assert_close(out[0, 0], torch.tensor([1.0, 0, 0, 0]), atol=1e-6, rtol=0)
    weights = np.array([1 / 0.25, 1 / 0.25, 1 / 1.25])
    np.testing.assert_allclose(out[0, 1, :3], weights / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("points", [64, 100, 300])
def test_points_and_groups_share_one_frame(points: int) -> None:
    spec = Preprocessing(points=128, groups=16, group_size=8)
    xyz = (np.random.default_rng(0).normal(size=(points, 3)) * 3 + 7).astype(np.float32)
    frame = torch.from_numpy(model_frame(xyz, spec))
    centers = torch.from_numpy(group_points(xyz[: spec.points], spec).centers)
    distance = (centers[:, None] - frame).norm(dim=2)
    assert float(distance.amin(dim=1).max()) < 1e-5


def test_every_class_validates_when_it_can() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2])
    mask = validation_mask(labels, 0)
    assert [int(mask[labels == label].sum()) for label in range(3)] == [2, 1, 0]
    assert not np.array_equal(mask, validation_mask(labels, 1))
