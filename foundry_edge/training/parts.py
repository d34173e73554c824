"""Training of part segmentation: a head on token features, with or without the encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.data.shape_set import ShapeSet
from foundry_edge.measures.miou import part_lists
from foundry_edge.models.config import checked
from foundry_edge.models.interpolate import model_frame, nearest_centres
from foundry_edge.models.model import Model
from foundry_edge.models.part_head import PartHead, PartHeadConfig
from foundry_edge.training.augment import random_scale
from foundry_edge.training.engine import Step
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray

POINTS_PER_STEP = 512
SCALE = (0.8, 1.25)
UNLABELLED = -1
"""The part of a point that belongs to none; it is not learnt from."""


@dataclass(frozen=True)
class PartData:
    """Shapes with part labels, ready for a head.

    Attributes:
        grouped: the groups.
        xyz: (M, P, 3) float32, in the model's frame.
        index: (M, P, 3) int64, the three centres nearest to each point.
        weight: (M, P, 3) float32, their weights.
        category: (M,) int64.
        part: (M, P) int64, -1 where a point belongs to none.
    """

    grouped: GroupedShapes
    xyz: Tensor
    index: Tensor
    weight: Tensor
    category: Tensor
    part: Tensor

    def __len__(self) -> int:
        return len(self.xyz)

    def where(self, mask: npt.NDArray[np.bool_]) -> PartData:
        """The shapes for which ``mask`` (M,) holds."""
        keep = torch.from_numpy(np.flatnonzero(mask))
        grouped = GroupedShapes(self.grouped.groups[keep], self.grouped.centers[keep])
        rest = (part[keep] for part in (self.xyz, self.index, self.weight, self.category, self.part))
        return PartData(grouped, *rest)


def part_labels(shapes: ShapeSet) -> npt.NDArray[np.int64]:
    """The part (M, P) of every point of a set.

    Raises:
        DataError: the set has no part labels, or a shape has no category.
    """
    if shapes.part_label is None:
        raise DataError(
            "has no part labels",
            where=shapes.name,
            remedy="give ShapeNetPart, or an .npz with the array part (docs/data.md)",
        )
    if not shapes.classes or (shapes.label < 0).any():
        raise DataError("a shape has no category", where=shapes.name, remedy="label every shape")
    return shapes.part_label.astype(np.int64)


def part_data(shapes: ShapeSet, grouped: GroupedShapes, spec: Preprocessing) -> PartData:
    """Points, neighbours and labels of every shape, for variant 0 of its grouping.

    Raises:
        DataError: the set has no part labels, or a shape has no category.
    """
    return points_with_labels(shapes.xyz, part_labels(shapes), shapes.label, grouped, spec)


def points_with_labels(
    clouds: FloatArray,
    part: npt.NDArray[np.int64],
    category: npt.NDArray[np.int64],
    grouped: GroupedShapes,
    spec: Preprocessing,
) -> PartData:
    """Clouds (M, P, 3) with parts (M, P) and categories (M,), grouped by their first N points."""
    xyz = torch.from_numpy(np.stack([model_frame(cloud, spec) for cloud in clouds]))
    near = nearest_centres(xyz, grouped.centers[:, 0])
    return PartData(
        grouped=grouped,
        xyz=xyz,
        index=near.index,
        weight=near.weight,
        category=torch.from_numpy(category),
        part=torch.from_numpy(part),
    )


def part_head_config(shapes: ShapeSet, width: int, **choices: float) -> PartHeadConfig:
    """A head for the parts and categories of a set, on tokens of ``width`` d, with other ``choices``."""
    named = {"parts": shapes.part_names, "categories": shapes.classes, "allowed": part_lists(shapes).allowed}
    return checked(PartHeadConfig, width=width, **named, **choices)


class PartSegmentation(nn.Module):
    """Cross-entropy of the parts of 512 points a shape.

    Args:
        head: to train.
        data: shapes to train on.
        tokens: (M, c, d) frozen features; None computes them from ``model``, whose weights with
            requires_grad are then trained too, on clouds scaled at random.
        model: a network in torch.
        budgets: each step draws one.
        known: the category is known, so a point's parts are those of its category alone.
    """

    def __init__(
        self,
        head: PartHead,
        data: PartData,
        tokens: Tensor | None = None,
        model: Model | None = None,
        budgets: tuple[int | None, ...] = (None,),
        known: bool = False,
    ) -> None:
        super().__init__()
        self.head = head
        self.network = model.module if model is not None else None
        self._data, self._tokens, self._model = data, tokens, model
        self._budgets, self._known = budgets, known

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch, and the share of right points."""
        data, rows, device = self._data, step.index, self.head.out.weight.device
        seen = torch.randperm(data.xyz.shape[1], generator=step.generator)[:POINTS_PER_STEP]
        xyz, part = data.xyz[rows][:, seen], data.part[rows][:, seen].to(device)
        if self._tokens is not None:
            tokens = self._tokens[rows].to(device)
        else:
            tokens, xyz = self._encoded(step, xyz)
        index, weight = (near[rows][:, seen].to(device) for near in (data.index, data.weight))
        category = data.category[rows].to(device)
        logits = self.head(tokens, index, weight, xyz.to(device), category)
        if self._known:
            logits = self.head.of_category(logits, category)
        loss = cross_entropy(logits.float().flatten(0, 1), part.flatten(), ignore_index=UNLABELLED)
        right = (logits.argmax(dim=2) == part)[part != UNLABELLED]
        return loss, {"point_accuracy": float(right.float().mean())}

    def after_step(self, step: Step) -> None:
        """Nothing to do."""

    def _encoded(self, step: Step, xyz: Tensor) -> tuple[Tensor, Tensor]:
        if self._model is None:
            raise ValueError("neither tokens nor a model was given")
        groups, centers = self._data.grouped.batch(step.index, torch.zeros_like(step.index))
        groups, centers, xyz = random_scale(groups, centers, step, SCALE, xyz)
        device = self.head.out.weight.device
        budget = self._budgets[int(step.generator.initial_seed() % len(self._budgets))]
        return self._model.encode_groups(groups.to(device), centers.to(device), budget), xyz


@torch.no_grad()
def predict_parts(head: PartHead, data: PartData, tokens: Tensor, batch: int = 16) -> npt.NDArray[np.int64]:
    """The part (M, P) of every point, among those its category may have.

    Args:
        head: trained.
        data: M shapes.
        tokens: (M, c, d) their features.
    """
    head.eval()
    found = []
    for rows in torch.arange(len(data)).split(batch):
        category = data.category[rows]
        logits = head(tokens[rows], data.index[rows], data.weight[rows], data.xyz[rows], category)
        found.append(head.of_category(logits, category).argmax(dim=2))
    return np.asarray(torch.cat(found).numpy(), dtype=np.int64)
