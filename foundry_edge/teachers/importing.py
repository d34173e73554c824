"""`import_teacher`: a published checkpoint to a teacher folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.previous import keep_previous
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.teachers.adapter import Adapter, Parts, Settings
from foundry_edge.teachers.architecture import TensorError, infer
from foundry_edge.teachers.orientation import Up, turn_upright
from foundry_edge.teachers.registry import ADAPTERS, recognise
from foundry_edge.teachers.safe_load import Checkpoint, open_checkpoint
from foundry_edge.teachers.state import Renamed, other_values, rename, tensors_of
from foundry_edge.teachers.tensors import TensorRef
from foundry_edge_runtime.errors import CheckpointError, InputError
from foundry_edge_runtime.grouping import Preprocessing

NAMED = 6
"""Keys that an error names; the others are counted."""
TRIED = 32
"""Groups, and points in each, of the cloud that an imported teacher is tried on."""


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
        out: folder to write. A model that is there is moved to its folder previous.
        heads: attention heads; needed where the file does not say (Point-MAE, Point-BERT).
        points: N; None is what the file says, else 1024.
        groups: c; None is what the file says, else 64.
        group_size: K; None is what the file says, else 32.
        up: "y" for a model trained with +y up (ShapeNet, so most published ones): it is turned, exactly, so
            that it sees z-up data as it saw its own. "z" changes nothing.

    Raises:
        CheckpointError: hostile, truncated or damaged file, unknown kind, missing or unknown tensors, tensors
            of whole numbers where weights should be, unknown heads. Nothing is written then.
        InputError: more groups, or points in a group, than points in a cloud.
    """
    asked = Settings(heads, points, groups, group_size)
    teacher, report = read_teacher(checkpoint, asked)
    if up == "y":
        turn_upright(teacher)
    keep_previous(Path(out))
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
        absent = _Absent(parts, other_values(checkpoint.root))
        config = _config(checkpoint, adapter, renamed, asked, absent)
        with torch.device("meta"):
            teacher = Teacher(config)  # shapes alone: nothing is allocated before they are compared
        _compare(checkpoint.path, teacher, renamed, absent)
        _fill(teacher, checkpoint, renamed)
    _check_features(teacher, checkpoint.path)
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
    checkpoint: Checkpoint,
    adapter: Adapter,
    renamed: Mapping[str, Renamed],
    asked: Settings,
    absent: _Absent,
) -> TeacherConfig:
    try:
        said = adapter.settings(checkpoint.root)
        settings = Settings(
            **{name: value or getattr(said, name) for name, value in vars(asked).items()},
        )
        _check_heads(said.heads, asked.heads)
        _check_grouping(settings.preprocessing)
        config = infer({name: found.shape for name, found in renamed.items()}, settings)
    except ValueError as error:
        said_of = absent.said(error) if isinstance(error, TensorError) else str(error)
        raise CheckpointError(
            f"{adapter.kind} checkpoint: {said_of}", where=checkpoint.path, remedy="see docs/teachers.md"
        ) from error
    return config


def _check_grouping(spec: Preprocessing) -> None:
    for flag, count in (("--groups", spec.groups), ("--group-size", spec.group_size)):
        if count > spec.points:
            raise InputError(
                f"{count} exceeds the {spec.points} points of a cloud",
                where=flag,
                remedy=f"give {spec.points} at most, or more --points",
            )


def _check_heads(said: int | None, asked: int | None) -> None:
    if said is None and asked is None:
        raise ValueError("the file does not say how many heads; give `import-teacher` --heads (6 in ViT-S)")
    if said is not None and asked is not None and said != asked:
        raise ValueError(f"--heads {asked} was given, but the file's hyper-parameters say {said}")


@dataclass(frozen=True)
class _Absent:
    """How errors speak of a tensor that the file lacks: by the name that it would have there.

    Attributes:
        parts: published names of our parts.
        others: published name -> what it is, of what is there but no tensor.
    """

    parts: Parts
    others: Mapping[str, str]

    def named(self, name: str) -> str:
        """The published name of one of our tensors, with what stands in its place."""
        published = _published(name, self.parts)
        kind = self.others.get(published)
        return f"{published} (is {kind}, not a tensor)" if kind else published

    def said(self, error: TensorError) -> str:
        """What is wrong with a tensor that decides a size."""
        published = _published(error.name, self.parts)
        kind = self.others.get(published)
        found = f"is {kind}, not a tensor" if kind else "is missing"
        return f"{published} {error.problem or found}"


def _compare(path: Path, teacher: Teacher, renamed: Mapping[str, Renamed], absent: _Absent) -> None:
    """Every tensor of the teacher is there with its shape and type, and its parts hold no others."""
    state = teacher.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = [absent.named(name) for name in expected if name not in renamed]
    unknown = [found.published for name, found in renamed.items() if name not in expected]
    wrong = [
        f"{found.published} is {list(found.shape)} instead of {list(expected[name])}"
        for name, found in renamed.items()
        if name in expected and found.shape != expected[name]
    ]
    whole = [
        f"{found.published} ({found.ref.storage.type.name})"
        for name, found in renamed.items()
        if name in state and state[name].is_floating_point() and not _is_floating(found)
    ]
    problems = (
        ("missing", missing),
        ("not understood", unknown),
        ("of another shape", wrong),
        ("of whole numbers instead of floats", whole),
    )
    said = [f"{len(names)} tensors {what}: {_some(names)}" for what, names in problems if names]
    if said:
        raise CheckpointError("; ".join(said), where=path, remedy="nothing was loaded; see docs/teachers.md")


def _is_floating(found: Renamed) -> bool:
    dtype = found.ref.storage.type.dtype
    return dtype is not None and dtype.is_floating_point


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
    for name, found in renamed.items():
        if name.endswith("running_var") and bool((state[name] < 0).any()):
            raise CheckpointError(
                f"tensor {found.published} holds a negative variance",
                where=checkpoint.path,
                remedy="take another checkpoint of that run",
            )
    teacher.load_state_dict(state, assign=True)
    teacher.requires_grad_(False)


def _check_features(teacher: Teacher, path: Path) -> None:
    """Weights that are finite one by one can still overflow together."""
    spec, generator = teacher.config.preprocessing, torch.Generator().manual_seed(0)
    centers = torch.rand(1, min(spec.groups, TRIED), 3, generator=generator) * 2 - 1
    offsets = torch.rand(1, centers.shape[1], min(spec.group_size, TRIED), 3, generator=generator)
    if not bool(torch.isfinite(teacher.encode_groups((offsets - 0.5) * 0.2, centers)).all()):
        raise CheckpointError(
            "its features of a random cloud hold NaN or infinity",
            where=path,
            remedy="take another checkpoint of that run",
        )


def _warnings(checkpoint: Checkpoint) -> tuple[str, ...]:
    if not checkpoint.foreign:
        return ()
    names = _some(checkpoint.foreign)
    return (f"unknown classes became inert placeholders: {names}",)


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
