"""What a rung is worth: fidelity to the teacher, accuracy of the head; on data never calibrated on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from foundry_edge.data.labels import relabel
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST, ShapeSet, load_npz
from foundry_edge.load import EMBEDDED, load_teacher, teacher_digest
from foundry_edge.measures.fidelity import fidelity
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.teacher import Teacher
from foundry_edge_calibration.clouds import EMBEDDED_NAME, FLOOR, group_clouds
from foundry_edge_calibration.engine import Array
from foundry_edge_runtime.bundle.manifest import Accuracy, EvaluationSet, Fidelity
from foundry_edge_runtime.errors import CheckpointError, DataError

_NAMED = 3
"""Classes that a note names."""


@dataclass(frozen=True)
class Evaluation:
    """Held-out clouds and what is known about them.

    Attributes:
        name: of the data.
        groups, centers: (M, c, K, 3) and (M, c, 3) float32.
        labels: (M,) int64 index into the head's labels, -1 where the head does not know the class.
        teacher: tokens (M, c, d) float32 of the teacher, None when it is not at hand.
        sha256: of the clouds and the labels.
        notes: one line each, for people.
    """

    name: str
    groups: Array
    centers: Array
    labels: npt.NDArray[np.int64]
    teacher: Array | None
    sha256: str
    notes: tuple[str, ...]

    @property
    def stated(self) -> EvaluationSet:
        """What a manifest says of it."""
        return EvaluationSet(data=self.name, samples=len(self.groups), sha256=self.sha256)

    def fidelity(self, tokens: Array) -> Fidelity | None:
        """Agreement of tokens (M, c, d) with the teacher's; None without a teacher."""
        if self.teacher is None:
            return None
        found = fidelity(torch.from_numpy(tokens), torch.from_numpy(self.teacher))
        return Fidelity(
            cosine_mean=found.cosine_mean,
            cosine_worst=found.cosine_worst,
            smooth_l1=found.smooth_l1,
            samples=found.samples,
            data=self.name,
        )

    def accuracy(self, logits: Array | None) -> Accuracy | None:
        """Share of labelled clouds that logits (M, labels) name rightly; None without head or labels."""
        known = self.labels >= 0
        if logits is None or not known.any():
            return None
        right = logits[known].argmax(axis=1) == self.labels[known]
        return Accuracy(value=100 * float(right.mean()), samples=int(known.sum()), data=self.name)


def load_evaluation(
    config: StudentConfig, teacher: str | Path | None = None, data: str | Path | None = None
) -> Evaluation:
    """The test side of the sample set (or of the .npz ``data``), seen by the student's teacher.

    Args:
        config: of the student.
        teacher: a folder or ``embedded:teacher``; None takes the embedded one if it is the student's.
        data: an .npz data set.

    Raises:
        CheckpointError: the teacher named is not the one the student was distilled from.
        DataError: the data set has no test side.
    """
    shapes = (load_samples() if data is None else load_npz(data)).part(TEST)
    if not len(shapes):
        raise DataError("the data set has no test side", where=data, remedy="give another --evaluation-data")
    groups, centers = group_clouds(shapes.xyz, config.teacher.preprocessing)
    labels = relabel(shapes, config.teacher.labels)
    found, notes = _find_teacher(config, teacher)
    notes += _too_few(len(groups)) + _unmeasured(shapes, labels, config.teacher.labels)
    digest = hashlib.sha256(groups.tobytes() + centers.tobytes() + labels.tobytes()).hexdigest()
    name = f"{EMBEDDED_NAME if data is None else shapes.name} (test)"
    return Evaluation(name, groups, centers, labels, _tokens(found, groups, centers), digest, notes)


def _too_few(clouds: int) -> tuple[str, ...]:
    """One line where a figure over so many clouds says little."""
    if clouds >= FLOOR:
        return ()
    return (f"evaluation clouds: only {clouds}; figures and gates may miss what {FLOOR} or more would show",)


def _unmeasured(shapes: ShapeSet, labels: npt.NDArray[np.int64], known: tuple[str, ...]) -> tuple[str, ...]:
    """One line where a head is there and no cloud has a class that it knows."""
    if not known or (labels >= 0).any():
        return ()
    present = [name for i, name in enumerate(shapes.classes) if (shapes.label == i).any()]
    why = f"does not know the classes of {shapes.name} ({_few(present)})" if present else "needs labels"
    return (
        f"accuracy not measured: the head ({_few(known)}) {why}; give --evaluation-data with its classes",
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _find_teacher(
    config: StudentConfig, teacher: str | Path | None
) -> tuple[Teacher | None, tuple[str, ...]]:
    if teacher is not None:
        if teacher_digest(teacher) != config.teacher_sha256:
            raise CheckpointError(
                "is not the teacher this student was distilled from",
                where=teacher,
                remedy="give the --teacher that `distill` was given",
            )
        return load_teacher(teacher), ()
    try:
        if teacher_digest(f"{EMBEDDED}teacher") == config.teacher_sha256:
            return load_teacher(f"{EMBEDDED}teacher"), ()
    except (CheckpointError, FileNotFoundError):
        return None, (
            "fidelity to the teacher not measured: this installation embeds no teacher; give --teacher",
        )
    return None, (
        "fidelity to the teacher not measured: the student's teacher is not the embedded one; give --teacher",
    )


@torch.no_grad()
def _tokens(teacher: Teacher | None, groups: Array, centers: Array, batch: int = 16) -> Array | None:
    if teacher is None:
        return None
    pairs = zip(torch.from_numpy(groups).split(batch), torch.from_numpy(centers).split(batch), strict=True)
    return torch.cat([teacher.encode_groups(*pair) for pair in pairs]).numpy()
