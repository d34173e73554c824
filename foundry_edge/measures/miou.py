"""Part mIoU as ShapeNetPart defines it (Yi et al. 2016; PointNet, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge.measures.metrics import Metrics

Parts = npt.NDArray[np.integer]
Category = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PartLists:
    """The parts of each category of a set.

    Attributes:
        allowed: what may be predicted: the set's own list, else the parts seen in the category's training
            shapes (all parts when it has none).
        scored: what counts: the parts with a point on the category's test side.
    """

    allowed: tuple[tuple[int, ...], ...]
    scored: tuple[tuple[int, ...], ...]


def part_lists(shapes: ShapeSet) -> PartLists:
    """The lists of a set with part labels (`ShapeSet.part_label` is not None)."""
    allowed, scored = [], []
    for category in range(len(shapes.classes)):
        listed = tuple(i for i, c in enumerate(shapes.part_category) if c == category)
        trained, tested = (_seen(shapes, category, side) for side in (TRAIN, TEST))
        allowed.append(listed or trained or tuple(range(len(shapes.part_names))))
        scored.append(tested)
    return PartLists(tuple(allowed), tuple(scored))


def _seen(shapes: ShapeSet, category: int, side: int) -> tuple[int, ...]:
    if shapes.part_label is None:
        return ()
    chosen = shapes.part_label[(shapes.label == category) & (shapes.split == side)]
    return tuple(int(part) for part in np.unique(chosen))


def shape_iou(predicted: Parts, truth: Parts, parts: tuple[int, ...]) -> float:
    """Mean IoU of one shape over ``parts``; a part that neither has counts as 1.

    Args:
        predicted: (P,) part of each point.
        truth: (P,) likewise.
        parts: the parts that count.
    """
    ious = []
    for part in parts:
        mine, theirs = predicted == part, truth == part
        union = int((mine | theirs).sum())
        ious.append(float((mine & theirs).sum()) / union if union else 1.0)
    return float(np.mean(ious))


def part_metrics(predicted: Parts, truth: Parts, category: Category, lists: PartLists) -> Metrics:
    """Metrics in percent over M test shapes.

    ``instance_miou`` is the mean over shapes, ``class_miou`` the mean over categories of the means over
    their shapes; in both, a part of the category that neither prediction nor truth of a shape has counts
    as 1, and a part with no point on the whole test side is left out. ``present_miou`` is the mean over
    shapes when only the parts a shape really has count. ``point_accuracy`` is the share of right points.

    Args:
        predicted: (M, P) part of each point.
        truth: (M, P) likewise.
        category: (M,) category of each shape.
        lists: of the set.
    """
    rows = list(zip(predicted, truth, category.tolist(), strict=True))
    each = np.array([shape_iou(p, t, lists.scored[c]) for p, t, c in rows])
    present = [shape_iou(p, t, tuple(np.unique(t).tolist())) for p, t, _ in rows]
    classes = [float(each[category == c].mean()) for c in np.unique(category)]
    return {
        "instance_miou": 100 * float(each.mean()),
        "class_miou": 100 * float(np.mean(classes)),
        "present_miou": 100 * float(np.mean(present)),
        "point_accuracy": 100 * float((predicted == truth).mean()),
    }
