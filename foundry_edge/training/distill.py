"""Distil a teacher into one elastic SuperToken student (Foundry section 3), or into a baseline."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from foundry_edge.data.files import files_digest
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shape_set import data_digest
from foundry_edge.data.shapes import ShapeSet, load_sets
from foundry_edge.load import load_student, load_teacher, teacher_digest
from foundry_edge.measures.fidelity import Fidelity
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.lite_tokenizer import LiteTokenizer
from foundry_edge.models.methods import METHODS, Choices, make_method
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.claim import CACHE, check_out, claim
from foundry_edge.training.engine import train
from foundry_edge.training.feature_targets import FeatureTargets, feature_targets
from foundry_edge.training.measure import measure
from foundry_edge.training.objective import MERGE_RATE, TEMPERATURE, Distillation
from foundry_edge.training.plot import plot_loss
from foundry_edge.training.processes import check_alone, check_device, is_main_process
from foundry_edge.training.report import Report
from foundry_edge.training.settings import TrainSettings, write_settings
from foundry_edge.training.specialist import SPECIALISTS, specialist
from foundry_edge.training.target_cache import VARIANTS, cache_targets, split_sides
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.files import write_text

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class BudgetResult:
    """Agreement with the teacher at one budget, on held-out shapes, before and after distillation.

    Attributes:
        tokens: s; c for a method that keeps all tokens.
        usage: SuperTokens in use per cloud and entropy of their sizes (0..1), and with a gate the share of
            merged tokens, after distillation; empty where nothing is merged.
    """

    tokens: int
    before: Fidelity
    after: Fidelity
    usage: dict[str, float]


@dataclass(frozen=True)
class DistillReport:
    """What `distill` did.

    Attributes:
        out: folder of the student.
        method: name of the compression method.
        teacher: name of the teacher.
        data: names of the data sets.
        shapes: training shapes.
        held_out: shapes of the fidelity figures, never trained on.
        seconds: wall time.
        budgets: one result per SuperToken budget.
    """

    out: Path
    method: str
    teacher: str
    data: tuple[str, ...]
    shapes: int
    held_out: int
    seconds: float
    budgets: tuple[BudgetResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": 1, **asdict(self), "out": str(self.out)}


def distill(
    teacher: str | Path = "embedded:teacher",
    data: list[Path] | None = None,
    *,
    teacher_features: Path | None = None,
    method: str = "dso",
    out: Path = Path("foundry-out/student"),
    merge_rate: float | None = None,
    freeze_encoder: bool = False,
    temperature: tuple[float, float] = TEMPERATURE,
    views: int = 8,
    settings: TrainSettings | None = None,
    resume: bool = False,
    **choices: Unpack[Choices],
) -> DistillReport:
    """Distil ``teacher`` into one student that serves every budget in ``tokens``.

    The teacher runs once over ``views`` views of every shape, and training works on its cached tokens and
    features. Positions, and a full tokenizer, are frozen and shared; a light one is learned along, started
    as the embedded student's where the teacher is the embedded one.

    Args:
        teacher: folder, ``embedded:teacher``, or a published .ckpt or .pth file.
        data: .npz data sets or folders of them; None is the embedded sample set. Only training sides are
            trained on; the figures come from the test sides.
        teacher_features: folder with the features of another model for every scan of ``data``, then folders
            of scans (`foundry_edge.teachers.features`). The student starts from ``teacher`` and learns
            these, through a linear map that is trained along and written to projection.safetensors.
        method: one of `foundry_edge.models.methods.METHODS`; the ones after ``dso`` are baselines. Also
            ``kd-classification`` and ``kd-parts``: specialists that learn a task's logits and labels alone.
        out: folder for config.json, model.safetensors, report.json, log.jsonl, loss.png and a checkpoint. A
            model that is there is moved to its folder previous.
        merge_rate: share of the tokens that the gate is to merge, 0..1; None is 0.75.
        freeze_encoder: keep the teacher's blocks, with whole MLPs unless ``mlp_ratio`` is given.
        temperature: of Gumbel-Softmax at the first and the last step.
        views: views per shape, the first plain, the others augmented.
        settings: optimisation settings.
        resume: continue from the checkpoint in ``out``.
        choices: tokens, query, mixing_blocks, attention_blocks, mlp_ratio, depth, width, heads, routing,
            residual, cau_mlp, gate, tokenizer, lite_width: see `Choices`.

    Raises:
        InputError: an option is out of range or means nothing to the method, ``out`` is the teacher's, or a
            specialist is to be trained by several processes.
        CheckpointError: teacher or checkpoint is missing, damaged or of another kind.
        DataError: nothing to train on, or the loss diverged.
        EnvironmentFault: there is no such accelerator here.
    """
    started = time.perf_counter()
    _check(method, merge_rate, bool(choices.get("gate")), temperature, teacher_features)
    merge_rate = MERGE_RATE if merge_rate is None else merge_rate
    settings = (settings or TrainSettings()).resolved()
    check_device(settings)
    if method in SPECIALISTS:
        check_alone(f"--method {method}")  # its losses are means over the labelled clouds of a batch
    check_out(out, teacher)
    console = Console(stderr=True)
    teacher_model = load_teacher(teacher)
    torch.manual_seed(settings.seed)
    source = teacher_digest(teacher)
    digest = source if teacher_features is None else ""
    student = _student(method, teacher_model, digest, freeze_encoder, choices)
    _start_tokenizer(student, source)
    parts = method == "kd-parts"
    lesson = _prepare(teacher_model, data, teacher_features, views, settings, out / CACHE, console, parts)
    made_of = _made_of(student, lesson, method, views, merge_rate, freeze_encoder, temperature)
    claim(out, {**made_of, "start": source, **lesson.digests}, resume)
    project = lesson.foreign.projection if lesson.foreign else None
    before = measure(student, lesson.held_out, project)
    objective = _objective(method, student, lesson, (temperature, merge_rate, freeze_encoder))
    train_logged(objective, len(lesson.targets), settings, out, console, resume)
    after = measure(student, lesson.held_out, project)
    result = DistillReport(
        out=out,
        method=method,
        teacher=str(teacher_features or teacher),
        data=lesson.data,
        shapes=lesson.shapes,
        held_out=len(lesson.held_out),
        seconds=round(time.perf_counter() - started, 1),
        budgets=tuple(
            BudgetResult(s, before[s].fidelity, after[s].fidelity, after[s].usage) for s in sorted(after)
        ),
    )
    if is_main_process():
        _write(out, student, result)
        if lesson.foreign:
            lesson.foreign.save_projection(out)
    return result


@dataclass(frozen=True)
class _Lesson:
    """What is taught: targets to train on and to measure with, where they come from, and hashes of that."""

    targets: TeacherTargets
    held_out: TeacherTargets
    data: tuple[str, ...]
    shapes: int
    digests: dict[str, str]
    fit: tuple[ShapeSet, ...] = ()
    foreign: FeatureTargets | None = None


def _prepare(
    teacher: Teacher,
    data: list[Path] | None,
    features: Path | None,
    views: int,
    settings: TrainSettings,
    cache: Path,
    console: Console,
    parts: bool,
) -> _Lesson:
    if features is None:
        sets = [load_samples()] if data is None else load_sets(data)
        fit, check = split_sides(sets)
        targets, held_out = cache_targets(
            teacher, fit, check, views, settings, cache, console, variants=1 if parts else VARIANTS
        )
        names, digests = tuple(s.name for s in sets), {"data_sha256": data_digest(sets)}
        return _Lesson(targets, held_out, names, sum(map(len, fit)), digests, tuple(fit))
    if data is None:
        raise InputError(
            "is needed with --teacher-features", where="--data", remedy="give the folder of the scans"
        )
    with console.status("features") as status:
        found = feature_targets(
            teacher,
            data,
            features,
            views,
            settings.seed,
            lambda done, total: status.update(f"features {done}/{total}"),
        )
    digests = {
        "data_sha256": files_digest(pair.scan for pair in found.pairs),
        "features_sha256": files_digest(pair.features for pair in found.pairs),
    }
    return _Lesson(found.fit, found.held_out, tuple(map(str, data)), found.scans, digests, foreign=found)


def _objective(
    method: str, student: Compressed, lesson: _Lesson, options: tuple[tuple[float, float], float, bool]
) -> Distillation:
    if method in SPECIALISTS:
        return specialist(method, student, lesson.targets, lesson.fit, *options)
    project = lesson.foreign.projection if lesson.foreign else None
    return Distillation(student, lesson.targets, *options, project)


def _student(
    method: str, teacher: Teacher, digest: str, freeze_encoder: bool, choices: Choices
) -> Compressed:
    """The student as it starts; frozen blocks keep their whole MLPs unless told otherwise."""
    kind = "dso" if method in SPECIALISTS else method
    if freeze_encoder and kind == "dso" and choices.get("mlp_ratio") is None:
        choices = {**choices, "mlp_ratio": teacher.config.mlp_ratio}
    student = make_method(kind, teacher.config, digest, **choices)
    student.start_from(teacher)
    return student


def _start_tokenizer(student: Compressed, source: str) -> None:
    """Start a light tokenizer as the embedded student's, where that one learned the same tokens.

    Args:
        student: already started from a teacher.
        source: digest of that teacher.
    """
    if not isinstance(student.tokenizer, LiteTokenizer):
        return
    known = load_student()
    theirs = known.config
    fits = source == theirs.teacher_sha256 and theirs.lite_width <= student.config.lite_width
    if fits and isinstance(known.tokenizer, LiteTokenizer):
        student.tokenizer.start_from(known.tokenizer)


def _made_of(
    student: Compressed,
    lesson: _Lesson,
    method: str,
    views: int,
    merge_rate: float,
    freeze_encoder: bool,
    temperature: tuple[float, float],
) -> dict[str, Any]:
    return {
        **student.config.model_dump(mode="json", exclude={"kind"}),
        "data": lesson.data,
        "shapes": lesson.shapes,
        "method": method,
        "views": views,
        "merge_rate": merge_rate,
        "freeze_encoder": freeze_encoder,
        "temperature": temperature,
    }


def _write(out: Path, student: Compressed, result: DistillReport) -> None:
    save_weights(out, student.config, student)
    plot_loss(out / "log.jsonl", out / "loss.png")
    write_text(out / "report.json", json.dumps(result.as_dict(), indent=2) + "\n")


def _check(
    method: str,
    merge_rate: float | None,
    gate: bool,
    temperature: tuple[float, float],
    features: Path | None,
) -> None:
    if features is not None and method in SPECIALISTS:
        raise InputError(
            f"files of features hold no labels, which {method} learns", where="--method", remedy="use dso"
        )
    if method not in (*METHODS, *SPECIALISTS):
        remedy = f"use one of {', '.join((*METHODS, *SPECIALISTS))}"
        raise InputError(f"unknown method {method!r}", where="--method", remedy=remedy)
    if merge_rate is not None and not gate:
        raise InputError("means nothing without a gate", where="--merge-rate", remedy="add --gate")
    if not 0 <= (merge_rate or 0) <= 1:
        raise InputError(
            f"expected 0 to 1, got {merge_rate}", where="--merge-rate", remedy="for example 0.75"
        )
    if len(temperature) != 2 or min(temperature) <= 0:
        raise InputError(
            f"expected two positive numbers, got {temperature}", where="--temperature", remedy="e.g. 1,0.3"
        )


def train_logged(
    objective: Distillation, count: int, settings: TrainSettings, out: Path, console: Console, resume: bool
) -> None:
    """Train, with a log, a progress bar, settings and checkpoints in the folder ``out``."""
    if is_main_process() and not resume:
        (out / "log.jsonl").unlink(missing_ok=True)
    with Report("distill", out / "log.jsonl", console) as report:
        train(
            objective,
            objective,
            count,
            settings,
            out / "checkpoint.pt",
            report.row,
            resume,
            on_start=lambda: write_settings(out, settings),
        )
