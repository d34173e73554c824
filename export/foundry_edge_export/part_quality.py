"""What the head for parts is worth with the tokens of each rung: mIoU on shapes it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from foundry_edge.data.one_set import one_set
from foundry_edge.data.shape_set import TEST, ShapeSet
from foundry_edge.measures.miou import part_lists, part_metrics
from foundry_edge.models.part_head import PartHeadConfig
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_calibration.engine import Array, open_session, run_all
from foundry_edge_export.draft import Draft
from foundry_edge_export.precisions import made_for
from foundry_edge_runtime.bundle.manifest import PartQuality
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing, to_model_frame
from foundry_edge_runtime.interpolation import nearest_centres
from foundry_edge_runtime.parts.form import PARTS


def part_quality(
    drafts: Sequence[Draft],
    model: onnx.ModelProto,
    config: PartHeadConfig,
    spec: Preprocessing,
    data: str | Path | ShapeSet,
) -> dict[str, PartQuality]:
    """Part mIoU of the test side of a set by rung, points prepared as the runtime does, category given.

    Rungs made for GPUs are left out: a CPU widens their half precision.

    Args:
        drafts: the rungs.
        model: the graph for parts.
        config: of its head.
        spec: how points become groups.
        data: a set with the categories and parts of the head.

    Raises:
        DataError: the set has other categories or parts, or no test side.
    """
    shapes = one_set(data)
    check = _checked(shapes, config)
    groups, centers = group_clouds(check.xyz, spec)
    found = {}
    for draft in drafts:
        if made_for(draft.precision) == "any":
            tokens = run_all(draft.model, groups, centers)["tokens"]
            predicted = _predicted(model, config, check, tokens, centers, spec)
            found[draft.name] = _quality(shapes, check, predicted)
    return found


def _checked(shapes: ShapeSet, config: PartHeadConfig) -> ShapeSet:
    """The test side."""
    check = shapes.part(TEST)
    alike = (shapes.classes, shapes.part_names) == (config.categories, config.parts)
    if not alike or check.part_label is None or not len(check):
        problem = "has no test side with parts" if alike else "has other categories or parts than the head"
        raise DataError(problem, where=shapes.name, remedy="give --parts-data the set of the head")
    return check


def _predicted(
    model: onnx.ModelProto,
    config: PartHeadConfig,
    check: ShapeSet,
    tokens: Array,
    centers: Array,
    spec: Preprocessing,
) -> npt.NDArray[np.int64]:
    """The part (M, P) of every point, among those of its category."""
    session, found = open_session(model), []
    for cloud, of_cloud, at, category in zip(check.xyz, tokens, centers, check.label, strict=True):
        xyz = to_model_frame(cloud, spec)
        index, weight = nearest_centres(xyz, at)
        inputs = (of_cloud[None], index[None], weight[None].astype(np.float32), xyz[None], category[None])
        (logits,) = session.run(PARTS.outputs, dict(zip(PARTS.inputs, inputs, strict=True)))
        allowed = np.array(config.allowed[int(category)])
        found.append(allowed[logits[0][:, allowed].argmax(axis=1)])
    return np.stack(found)


def _quality(shapes: ShapeSet, check: ShapeSet, predicted: npt.NDArray[np.int64]) -> PartQuality:
    truth = np.asarray(check.part_label, dtype=np.int64)
    metrics = part_metrics(predicted, truth, check.label, part_lists(shapes))
    return PartQuality(
        instance_miou=metrics["instance_miou"],
        class_miou=metrics["class_miou"],
        samples=len(check),
        data=f"{shapes.name} (test)",
    )
