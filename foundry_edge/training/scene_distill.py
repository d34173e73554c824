"""Continue a student on scenes: larger c, varied N, mixing in windows (docs/scenes.md)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shape_set import data_digest
from foundry_edge.data.shapes import ShapeSet, load_sets
from foundry_edge.load import load_student, load_teacher, model_digest, teacher_digest
from foundry_edge.measures.fidelity import Fidelity
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.claim import CACHE, check_out, claim
from foundry_edge.training.compute import Compute
from foundry_edge.training.distill import train_logged
from foundry_edge.training.engine import Step
from foundry_edge.training.measure import measure
from foundry_edge.training.objective import TEMPERATURE, Distillation
from foundry_edge.training.processes import check_device, is_main_process
from foundry_edge.training.scene_student import SceneStudent, scene_student
from foundry_edge.training.scene_targets import SIZES, SYNTHETIC, scene_lesson
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.target_cache import cache_targets, split_sides
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.files import write_text


@dataclass(frozen=True)
class SceneFidelity:
    """Agreement with the teacher at one size and one budget, on scenes never trained on.

    Attributes:
        groups: c; 0 stands for held-out objects.
        tokens: s.
    """

    groups: int
    tokens: int
    before: Fidelity
    after: Fidelity


@dataclass(frozen=True)
class SceneReport:
    """What `distill_scenes` did.

    Attributes:
        out: folder of the student.
        start: the student that it continued.
        teacher: name of the teacher.
        scenes: training scenes.
        held_out: scenes of the figures.
        cuts: clouds that were trained on.
        seconds: wall time.
        results: one for each size and budget.
    """

    out: Path
    start: str
    teacher: str
    scenes: tuple[str, ...]
    held_out: tuple[str, ...]
    cuts: int
    seconds: float
    results: tuple[SceneFidelity, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": 1, **asdict(self), "out": str(self.out)}


class SceneDistillation(Distillation):
    """`Distillation` of which every other step learns from scenes, each time of one size.

    Args:
        student: mixes in windows.
        targets: of objects, so that they are not forgotten.
        scenes: c -> the teacher's outputs on scenes.
        options: of `Distillation`.
    """

    def __init__(
        self,
        student: SceneStudent,
        targets: TeacherTargets,
        scenes: dict[int, TeacherTargets],
        **options: Any,
    ) -> None:
        super().__init__(student, targets, **options)
        self.objects, self.scenes = targets, scenes

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """Smooth L1 on objects at even steps, on scenes of the next size at odd ones."""
        turn, odd = divmod(step.number, 2)
        if not odd:
            self.targets = self.objects
            return super().loss(step)
        size = sorted(self.scenes)[turn % len(self.scenes)]
        self.targets = self.scenes[size]
        loss, figures = super().loss(replace(step, index=step.index % len(self.targets)))
        return loss, {f"loss_c{size}": float(loss.detach()), **figures}


def distill_scenes(
    student: str | Path = "embedded:student",
    teacher: str | Path = "embedded:teacher",
    scenes: Sequence[str | Path] = (SYNTHETIC,),
    *,
    data: list[Path] | None = None,
    out: Path = Path("foundry-out/student"),
    cuts: int = 8,
    sizes: Sequence[int] = SIZES,
    settings: TrainSettings | None = None,
    resume: bool = False,
) -> SceneReport:
    """Continue ``student`` on scenes and objects in turn.

    The teacher runs once on every cut, all groups at once, so the largest size decides what that costs.

    Args:
        student: a folder made by `distill`, or ``embedded:student``; no gate.
        teacher: its teacher.
        scenes: scans, folders of scans, or ``synthetic``.
        data: .npz data sets of objects; None is the embedded sample set.
        out: folder for config.json, model.safetensors, report.json, log.jsonl and a checkpoint.
        cuts: clouds per scene and size.
        sizes: numbers of groups c.
        settings: optimisation settings; a tenth of the usual learning rate suits a student that knows much.
        resume: continue from the checkpoint in ``out``.

    Raises:
        InputError: the student has a gate, a size is below its budgets, or ``out`` is a folder it reads from.
        DataError: nothing to train on.
        CheckpointError: student or teacher is missing, damaged or of another kind.
        EnvironmentFault: there is no such accelerator here.
    """
    started = time.perf_counter()
    settings = (settings or TrainSettings(learning_rate=1e-4, batch=16)).resolved()
    check_device(settings)
    check_out(out, student, teacher)
    torch.manual_seed(settings.seed)
    console = Console(stderr=True)
    model, guide = _trainable(student), load_teacher(teacher)
    _check(model, guide, sizes)
    sets = [load_samples()] if data is None else load_sets(data)
    shapes, objects, kept = _objects(guide, sets, settings, out, console)
    with console.status("scenes") as status:
        lesson = scene_lesson(
            guide, scenes, shapes, cuts, settings.seed, sizes, Compute(settings.compute.device),
            lambda done, total: status.update(f"scenes {done}/{total}"),
        )  # fmt: skip
    made_of = {
        "start": model_digest(student),
        "teacher": teacher_digest(teacher),
        "cuts": cuts,
        "sizes": sizes,
        "scenes": lesson.scenes,
        "scenes_sha256": lesson.sha256,
        "data": [one.name for one in sets],
        "data_sha256": data_digest(sets),
    }
    claim(out, made_of, resume)
    checked = {0: kept, **lesson.held_out}
    before = {size: measure(model, targets) for size, targets in checked.items()}
    objective = SceneDistillation(model, objects, lesson.fit, temperature=TEMPERATURE)
    train_logged(objective, len(objects), settings, out, console, resume)
    after = {size: measure(model, targets) for size, targets in checked.items()}
    report = SceneReport(
        out=out,
        start=str(student),
        teacher=str(teacher),
        scenes=lesson.scenes,
        held_out=lesson.checked,
        cuts=sum(map(len, lesson.fit.values())),
        seconds=round(time.perf_counter() - started, 1),
        results=tuple(
            SceneFidelity(size, count, before[size][count].fidelity, after[size][count].fidelity)
            for size in checked
            for count in sorted(after[size])
        ),
    )
    if is_main_process():
        save_weights(out, model.config, model)
        write_text(out / "report.json", json.dumps(report.as_dict(), indent=2) + "\n")
    return report


def _trainable(student: str | Path) -> SceneStudent:
    return scene_student(load_student(student)).requires_grad_(True)


def _check(student: SceneStudent, teacher: Teacher, sizes: Sequence[int]) -> None:
    if student.gate is not None:
        raise InputError("a student with a gate cannot be run on scenes", where="--start")
    if student.config.teacher.width != teacher.config.width:
        raise InputError("is no student of this teacher", where="--start", remedy="name its --teacher")
    if min(sizes) < student.config.tokens[-1]:
        raise InputError(
            f"sizes must be at least {student.config.tokens[-1]}, the largest budget; got {min(sizes)}",
            remedy="leave small sizes out",
        )


def _objects(
    teacher: Teacher, sets: list[ShapeSet], settings: TrainSettings, out: Path, console: Console
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], TeacherTargets, TeacherTargets]:
    """Shapes for rooms, and the teacher's outputs on training and held-out objects."""
    fit, check = split_sides(sets)
    targets, kept = cache_targets(teacher, fit, check, 2, settings, out / CACHE, console)
    return fit[0].xyz, targets, kept
