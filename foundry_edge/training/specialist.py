"""Ordinary knowledge distillation for one task: logits and labels, no features (Hinton et al. 2015).

The same student with the same start as in feature distillation, but all it learns from is what a linear head
on the teacher says about one labelled task: the baseline that Foundry, table 3, calls a specialist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from foundry_edge.data.labels import merged, relabel
from foundry_edge.data.shapes import ShapeSet
from foundry_edge.measures.probe import fit_probe
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.heads import ClassificationHead, pool
from foundry_edge.models.interpolate import model_frame, nearest_centres
from foundry_edge.training.head import fit_head, fold
from foundry_edge.training.objective import TEMPERATURE, Distillation
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing

SOFTNESS = 4.0
"""Hinton's temperature of the logits."""
LABEL_SHARE = 0.5
SPECIALISTS = ("kd-classification", "kd-parts")
MOST_TOKENS = 20_000
"""Tokens that the teacher's part head is fitted to, at most."""


@dataclass(frozen=True)
class Task:
    """What a specialist learns.

    Attributes:
        names: of the classes.
        per_token: whether each token is classified (parts), or the pooled cloud.
        labels: (M,) or (M, c) int64 of the training shapes, -1 where unknown.
        teacher: linear head on the teacher's features, fitted to those labels, frozen.
    """

    names: tuple[str, ...]
    per_token: bool
    labels: Tensor
    teacher: nn.Linear


class Specialist(Distillation):
    """KL divergence to the teacher's softened logits, and cross-entropy to the labels.

    Args:
        model: what is trained, in place; with a classification task it must have a head for its classes.
        targets: the teacher's tokens and features; view v of shape i is row v * M + i.
        task: what to learn.
        temperature, merge_rate, freeze_encoder: as for `Distillation`.
    """

    def __init__(
        self,
        model: Compressed,
        targets: TeacherTargets,
        task: Task,
        temperature: tuple[float, float] = TEMPERATURE,
        merge_rate: float = 0.75,
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__(model, targets, temperature, merge_rate, freeze_encoder)
        self.task = task
        self.teacher_head = task.teacher.requires_grad_(False)
        self.own: nn.Module = nn.Linear(targets.features.shape[2], len(task.names))
        if not task.per_token and model.head is not None:
            self.own = model.head.requires_grad_(True)

    def criterion(self, made: Tensor, wanted: Tensor, index: Tensor) -> Tensor:
        """Of features (B, c, d); logits of clouds or of tokens, as the task says."""
        seen = (made, wanted) if self.task.per_token else (pool(made), pool(wanted))
        own, theirs = self.own(seen[0]).float().flatten(0, -2), self.teacher_head(seen[1]).flatten(0, -2)
        labels = self.task.labels[index % len(self.task.labels)].to(own.device).flatten()
        soft = kl_div(
            (own / SOFTNESS).log_softmax(dim=1),
            (theirs / SOFTNESS).log_softmax(dim=1),
            log_target=True,
            reduction="batchmean",
        )
        known = labels >= 0
        hard = cross_entropy(own[known], labels[known]) if known.any() else own.sum() * 0
        return LABEL_SHARE * hard + (1 - LABEL_SHARE) * SOFTNESS**2 * soft


def specialist(
    method: str,
    model: Compressed,
    targets: TeacherTargets,
    sets: Sequence[ShapeSet],
    temperature: tuple[float, float] = TEMPERATURE,
    merge_rate: float = 0.75,
    freeze_encoder: bool = False,
) -> Specialist:
    """The objective of ``kd-classification`` or ``kd-parts``; the former gives ``model`` a head.

    Raises:
        DataError: the training shapes lack the labels.
    """
    if method == "kd-parts":
        task = part_task(sets, targets, model.config.teacher.preprocessing)
    else:
        task = classification_task(sets, targets)
        with_head(model, task)
    return Specialist(model, targets, task, temperature, merge_rate, freeze_encoder)


def classification_task(sets: Sequence[ShapeSet], targets: TeacherTargets) -> Task:
    """Classes of all labelled training shapes.

    Args:
        sets: the training sides, in the order of the targets.
        targets: view 0 is the first M rows.

    Raises:
        DataError: there are fewer than two classes.
    """
    names = merged(list(sets))
    label = np.concatenate([_labels(s, names) for s in sets])
    present, index = np.unique(label[label >= 0], return_inverse=True)
    if len(present) < 2:
        raise DataError("the training shapes show fewer than two classes", remedy="give a labelled set")
    features = pool(targets.features[: len(label)].float()).numpy()[label >= 0]
    head = fit_head(features, index.astype(np.int64), len(present))
    dense = np.full(len(label), -1)
    dense[label >= 0] = index
    return Task(tuple(names[i] for i in present), False, torch.from_numpy(dense).long(), head)


def _labels(shapes: ShapeSet, names: tuple[str, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return relabel(shapes, names) if shapes.classes else np.full(len(shapes), -1, dtype=np.int64)


def part_task(sets: Sequence[ShapeSet], targets: TeacherTargets, spec: Preprocessing) -> Task:
    """Parts of all training shapes; a token's part is what most of the points nearest to its centre have.

    Raises:
        DataError: a set has no part labels.
    """
    names: list[str] = []
    labels = []
    first = 0
    for shapes in sets:
        if shapes.part_label is None:
            raise DataError("has no part labels", where=shapes.name, remedy="leave it out of --data")
        rows = slice(first, first + len(shapes))
        labels.append(_token_parts(shapes, targets.centers[rows], spec) + len(names))
        names += [f"{shapes.name}/{name}" for name in shapes.part_names]
        first += len(shapes)
    label = torch.cat(labels)
    return Task(tuple(names), True, label, _part_head(targets.features[:first], label, len(names)))


def _token_parts(shapes: ShapeSet, centers: Tensor, spec: Preprocessing) -> Tensor:
    """Parts (M, c) int64 of tokens with centres (M, c, 3)."""
    assert shapes.part_label is not None
    xyz = torch.from_numpy(np.stack([model_frame(cloud, spec) for cloud in shapes.xyz]))
    nearest = nearest_centres(xyz, centers).index[..., 0]
    part = torch.from_numpy(shapes.part_label.astype(np.int64))
    votes = torch.zeros(len(xyz), centers.shape[1], len(shapes.part_names))
    rows = torch.arange(len(xyz))[:, None].expand_as(nearest)
    votes.index_put_((rows, nearest, part), torch.ones(nearest.shape), accumulate=True)
    return votes.argmax(dim=2)


def _part_head(features: Tensor, label: Tensor, parts: int) -> nn.Linear:
    """A logistic regression on at most `MOST_TOKENS` tokens; absent parts are never named."""
    flat, known = features.flatten(0, 1), label.flatten()
    pick = torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:MOST_TOKENS]
    probe = fit_probe(flat[pick].float().numpy(), known[pick].numpy())
    if len(probe[1].classes_) < 2:
        raise DataError("the training shapes show fewer than two parts", remedy="give a set with parts")
    head = nn.Linear(flat.shape[1], parts)
    fold(probe, head)
    return head


def with_head(model: Compressed, task: Task) -> None:
    """Give a model a classification head that starts as the teacher's.

    The labels enter its config, so that config.json and weights fit together.
    """
    teacher = model.config.teacher.model_copy(update={"labels": task.names, "head_hidden": 0})
    model.config = model.config.model_copy(update={"teacher": teacher})
    model.head = ClassificationHead(teacher.width, len(task.names))
    model.head.load_state_dict(task.teacher.state_dict())
