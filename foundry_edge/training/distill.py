"""Distil a teacher into one elastic SuperToken student (Foundry section 3), or into a baseline."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST, ShapeSet, load_sets
from foundry_edge.evaluation.fidelity import Fidelity, fidelity
from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.config import Query, Residual, Routing
from foundry_edge.models.dso import usage
from foundry_edge.models.load import load_teacher, model_folder
from foundry_edge.models.methods import make_method
from foundry_edge.models.store import save_weights, weights_sha256
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.engine import train
from foundry_edge.training.objective import TEMPERATURE, Distillation
from foundry_edge.training.plot import plot_loss
from foundry_edge.training.report import Report
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.targets import TeacherTargets, teacher_targets
from foundry_edge_runtime.errors import DataError, InputError
from foundry_edge_runtime.files import write_text

HELD_OUT_SHAPES = 256
VARIANTS = 4
"""Groupings per shape; the last is one-sided, so that students are faithful on scans too."""


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
    method: str = "dso",
    tokens: tuple[int, ...] | None = None,
    out: Path = Path("foundry-out/student"),
    query: Query | None = None,
    mixing_blocks: int | None = None,
    depth: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    routing: Routing | None = None,
    residual: Residual | None = None,
    gate: bool = False,
    merge_rate: float = 0.75,
    freeze_encoder: bool = False,
    temperature: tuple[float, float] = TEMPERATURE,
    views: int = 8,
    settings: TrainSettings | None = None,
    resume: bool = False,
) -> DistillReport:
    """Distil ``teacher`` into one student that serves every budget in ``tokens``.

    Tokenizer and positions are frozen and shared, so the teacher runs once over ``views`` views of every
    shape and training works on its cached tokens and features.

    Args:
        teacher: folder or ``embedded:teacher``.
        data: .npz data sets or folders of them; None is the embedded sample set. Only training sides are
            trained on; the figures come from the test sides.
        method: one of `foundry_edge.models.methods.METHODS`; the ones after ``dso`` are baselines.
        tokens: SuperToken budgets, ascending; one alone makes a dedicated student. None is 1, 2, 4, 8, 16.
        out: folder for config.json, model.safetensors, report.json, log.jsonl, loss.png and a checkpoint.
        query: how DSO's queries are formed.
        mixing_blocks: leading teacher blocks that run on all tokens.
        depth: blocks on the SuperTokens (of a truncated or small model: all its blocks).
        width: of the small model of ``mimicry``.
        heads: of the small model of ``mimicry``.
        routing: how SuperTokens return to tokens.
        residual: what each token adds to what returns.
        gate: train a Foundry-Gate too.
        merge_rate: share of the tokens that the gate is to merge, 0..1.
        freeze_encoder: keep the teacher's blocks as they are.
        temperature: of Gumbel-Softmax at the first and the last step.
        views: views per shape, the first plain, the others augmented.
        settings: optimisation settings.
        resume: continue from the checkpoint in ``out``.

    Raises:
        InputError: an option is out of range, or means nothing to the method.
        CheckpointError: teacher or checkpoint is missing, damaged or of another kind.
        DataError: nothing to train on, or the loss diverged.
    """
    started = time.perf_counter()
    _check_ranges(merge_rate, temperature)
    settings = (settings or TrainSettings()).resolved()
    console = Console(stderr=True)
    teacher_model = load_teacher(teacher)
    torch.manual_seed(settings.seed)
    student = make_method(
        method,
        teacher_model.config,
        weights_sha256(model_folder(teacher)),
        tokens=tokens,
        query=query,
        mixing_blocks=mixing_blocks,
        depth=depth,
        width=width,
        heads=heads,
        routing=routing,
        residual=residual,
        gate=gate or None,
    )
    student.start_from(teacher_model)
    sets = [load_samples()] if data is None else load_sets(data)
    fit, check = split_sides(sets)
    targets, held_out = cache_targets(teacher_model, fit, check, views, settings, out / "cache", console)
    before = measure(student, held_out)
    write_text(out / "settings.json", settings.model_dump_json(indent=2) + "\n")
    objective = Distillation(student, targets, temperature, merge_rate, freeze_encoder)
    train_logged(objective, len(targets), settings, out, console, resume)
    after = measure(student, held_out)
    save_weights(out, student.config, student)
    plot_loss(out / "log.jsonl", out / "loss.png")
    result = DistillReport(
        out=out,
        method=method,
        teacher=str(teacher),
        data=tuple(s.name for s in sets),
        shapes=sum(map(len, fit)),
        held_out=len(held_out),
        seconds=round(time.perf_counter() - started, 1),
        budgets=tuple(
            BudgetResult(s, before[s].fidelity, after[s].fidelity, after[s].usage) for s in sorted(after)
        ),
    )
    write_text(out / "report.json", json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _check_ranges(merge_rate: float, temperature: tuple[float, float]) -> None:
    if not 0 <= merge_rate <= 1:
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
    """Train, with a log, a progress bar and checkpoints in the folder ``out``."""
    if not resume:
        (out / "log.jsonl").unlink(missing_ok=True)
    with Report("distill", out / "log.jsonl", console) as report:
        train(objective, objective, count, settings, out / "checkpoint.pt", report.row, resume)


def split_sides(sets: list[ShapeSet]) -> tuple[list[ShapeSet], list[ShapeSet]]:
    """Training sides, and test sides for the figures (the training side's tail where there is no test side).

    Raises:
        DataError: there is no training shape.
    """
    fit = [s for s in training_side(sets) if len(s)]
    if not fit:
        raise DataError("the data hold no training shapes", remedy="mark some with split 0")
    check = [s.part(TEST) for s in sets if len(s.part(TEST))]
    if check:
        return fit, check
    last = fit[-1]
    tail = np.arange(len(last)) >= len(last) * 9 // 10
    return [*fit[:-1], last.where(~tail)], [last.where(tail)]


def cache_targets(
    teacher: Teacher,
    fit: list[ShapeSet],
    check: list[ShapeSet],
    views: int,
    settings: TrainSettings,
    cache: Path,
    console: Console,
) -> tuple[TeacherTargets, TeacherTargets]:
    """The teacher's outputs on the training views, and on the held-out shapes as they are (float32)."""
    spec, variants = teacher.config.preprocessing, min(views, VARIANTS)
    with console.status("grouping"):
        groups = grouped_corpus(
            fit, spec, variants, settings.seed, cache, one_sided_variants=int(variants > 1)
        )
        held_out = grouped_corpus([s.first(HELD_OUT_SHAPES) for s in check], spec, 1, 0, cache)
    fast = torch.bfloat16 if settings.fabric_precision == "bf16-mixed" else torch.float32
    with _bar(console, "teacher") as advance:
        targets = teacher_targets(teacher, groups, views, settings.seed, fast, advance)
        return targets, teacher_targets(teacher, held_out, 1, settings.seed, torch.float32, advance)


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Any]:
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@dataclass(frozen=True)
class Measured:
    """A model at one budget on held-out shapes."""

    fidelity: Fidelity
    usage: dict[str, float]


@torch.no_grad()
def measure(model: Compressed, held_out: TeacherTargets) -> dict[int, Measured]:
    """Fidelity and usage at every budget, from cached tokens (float32 arithmetic).

    A method without budgets has one entry, under the number of tokens c.
    """
    model.eval()
    results = {}
    for count in model.budgets or (held_out.tokens.shape[1],):
        features, figures = [], []
        for rows in torch.arange(len(held_out)).split(64):
            made = model.reconstruct(held_out.tokens[rows].float(), held_out.centers[rows], count)
            features.append(made.features)
            figures.append(_usage(made))
        means = {name: float(np.mean([row[name] for row in figures])) for name in figures[0]}
        results[count] = Measured(fidelity(torch.cat(features), held_out.features.float()), means)
    return results


def _usage(made: Reconstruction) -> dict[str, float]:
    found = {} if made.assignment is None else usage(made.assignment)
    if made.merge is not None and made.assignment is not None:
        found["merged"] = float(made.assignment.sum(dim=2).mean())
    return found
