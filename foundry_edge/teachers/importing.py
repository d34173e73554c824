"""`import_teacher`: a published checkpoint to a teacher folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.teachers.adapter import Adapter, Parts, Settings
from foundry_edge.teachers.architecture import infer
from foundry_edge.teachers.orientation import Up, turn_upright
from foundry_edge.teachers.registry import ADAPTERS, recognise
from foundry_edge.teachers.safe_load import Checkpoint, open_checkpoint
from foundry_edge.teachers.state import Renamed, rename, tensors_of
from foundry_edge.teachers.tensors import TensorRef
from foundry_edge_runtime.errors import CheckpointError

NAMED = 6
"""Keys that an error names; the others are counted."""


@dataclass(frozen=True)
class ImportReport:
    """What an import found and took.

    Attributes:
        checkpoint: the file.
        out: the folder written; None where nothing was.
        kind: the format, e.g. "point-jepa".
        config: sizes of the teacher.
        matched: tensors of the file that were taken.
        missing: tensors of the teacher that the file lacks; an import with any fails, so always empty here.
        unexpected: tensors of the file that are no part of the teacher (predictor, decoder, EMA copy ...).
        warnings: one line each, for people.
    """

    checkpoint: Path
    out: Path | None
    kind: str
    config: TeacherConfig
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        paths = {"checkpoint": str(self.checkpoint), "out": None if self.out is None else str(self.out)}
        config = self.config.model_dump(mode="json")
        return {"schema": 1, **asdict(replace(self, config=None)), **paths, "config": config}  # type: ignore[arg-type]


def import_teacher(
    checkpoint: str | Path,
    out: str | Path = Path("foundry-out/teacher"),
    *,
    heads: int | None = None,
    points: int | None = None,
    groups: int | None = None,
    group_size: int | None = None,
    up: Up = "z",
) -> ImportReport:
    """Convert a published checkpoint to a teacher folder: config.json and model.safetensors (float32).

    Formats: Point-JEPA and point2vec (Lightning), Point-MAE and Point-BERT (.pth). Width, depth, MLP ratio
    and biases are inferred from the tensors; heads and grouping from hyper-parameters, where there are any.
    The file is never unpickled in the ordinary sense: nothing that it names is imported or called.

    Args:
        checkpoint: the file.
        out: folder to write.
        heads: attention heads; needed where the file does not say (Point-MAE, Point-BERT).
        points: N; None is what the file says, else 1024.
        groups: c; None is what the file says, else 64.
        group_size: K; None is what the file says, else 32.
        up: "y" for a model trained with +y up (ShapeNet, so most published ones): it is turned, exactly, so
            that it sees z-up data as it saw its own. "z" changes nothing.

    Raises:
        CheckpointError: hostile, truncated or damaged file, unknown kind, missing or unknown tensors, unknown
            heads. Nothing is written then.
    """
    asked = Settings(heads, points, groups, group_size)
    teacher, report = read_teacher(checkpoint, asked)
    if up == "y":
        turn_upright(teacher)
    save_weights(Path(out), teacher.config, teacher)
    return replace(report, out=Path(out))


def read_teacher(path: str | Path, asked: Settings) -> tuple[Teacher, ImportReport]:
    """A published checkpoint as a teacher (float32, eval mode, frozen); see `import_teacher`."""
    with open_checkpoint(path) as checkpoint:
        tensors = tensors_of(checkpoint.root)
        adapter, parts = _recognised(checkpoint, tensors)
        renamed = rename(tensors, parts)
        for found in renamed.values():
            checkpoint.check(found.published, found.ref)
        config = _config(checkpoint, adapter, renamed, asked)
        with torch.device("meta"):
            teacher = Teacher(config)  # shapes alone: nothing is allocated before they are compared
        _compare(checkpoint.path, teacher, renamed, parts)
        _fill(teacher, checkpoint, renamed)
    matched = tuple(found.published for found in renamed.values())
    report = ImportReport(
        checkpoint=checkpoint.path,
        out=None,
        kind=adapter.kind,
        config=config,
        matched=matched,
        missing=(),
        unexpected=tuple(sorted(set(tensors) - set(matched))),
        warnings=_warnings(checkpoint),
    )
    return teacher, report


def published_teacher(path: str | Path, heads: int | None = None) -> Teacher:
    """`read_teacher` for those who need no report; what it warns of is logged."""
    teacher, report = read_teacher(path, Settings(heads))
    for warning in report.warnings:
        logging.getLogger("foundry_edge").warning("%s: %s", path, warning)
    return teacher


def _recognised(checkpoint: Checkpoint, tensors: Mapping[str, TensorRef]) -> tuple[Adapter, Parts]:
    found = recognise(tensors)
    if found is None:
        names = f"its tensors are {_some(sorted(tensors))}" if tensors else "it holds no tensors"
        kinds = ", ".join(adapter.kind for adapter in ADAPTERS)
        raise CheckpointError(
            f"not a checkpoint of a known kind: {names}",
            where=checkpoint.path,
            remedy=f"known are {kinds}; see docs/teachers.md",
        )
    return found


def _config(
    checkpoint: Checkpoint, adapter: Adapter, renamed: Mapping[str, Renamed], asked: Settings
) -> TeacherConfig:
    try:
        said = adapter.settings(checkpoint.root)
        settings = Settings(
            **{name: value or getattr(said, name) for name, value in vars(asked).items()},
        )
        _check_heads(said.heads, asked.heads)
        return infer({name: found.shape for name, found in renamed.items()}, settings)
    except ValueError as error:
        raise CheckpointError(
            f"{adapter.kind} checkpoint: {error}", where=checkpoint.path, remedy="see docs/teachers.md"
        ) from error


def _check_heads(said: int | None, asked: int | None) -> None:
    if said is None and asked is None:
        raise ValueError("the file does not say how many heads; give `import-teacher` --heads (6 in ViT-S)")
    if said is not None and asked is not None and said != asked:
        raise ValueError(f"--heads {asked} was given, but the file's hyper-parameters say {said}")


def _compare(path: Path, teacher: Teacher, renamed: Mapping[str, Renamed], parts: Parts) -> None:
    """Every tensor of the teacher is there with its shape, and its parts hold no others."""
    expected = {name: tuple(tensor.shape) for name, tensor in teacher.state_dict().items()}
    published = {name: _published(name, parts) for name in expected}
    missing = [published[name] for name in expected if name not in renamed]
    unknown = [found.published for name, found in renamed.items() if name not in expected]
    wrong = [
        f"{found.published} is {list(found.shape)} instead of {list(expected[name])}"
        for name, found in renamed.items()
        if name in expected and found.shape != expected[name]
    ]
    problems = (("missing", missing), ("not understood", unknown), ("of another shape", wrong))
    said = [f"{len(names)} tensors {what}: {_some(names)}" for what, names in problems if names]
    if said:
        raise CheckpointError("; ".join(said), where=path, remedy="nothing was loaded; see docs/teachers.md")


def _published(name: str, parts: Parts) -> str:
    """The published name of one of our tensors."""
    for published, ours in parts.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def _fill(teacher: Teacher, checkpoint: Checkpoint, renamed: Mapping[str, Renamed]) -> None:
    state = {
        name: checkpoint.read(found.published, found.ref).reshape(found.shape)
        for name, found in renamed.items()
    }
    teacher.load_state_dict(state, assign=True)
    teacher.requires_grad_(False)


def _warnings(checkpoint: Checkpoint) -> tuple[str, ...]:
    if not checkpoint.foreign:
        return ()
    names = _some(checkpoint.foreign)
    return (f"unknown classes became inert placeholders: {names}",)


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
