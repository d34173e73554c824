"""Self-supervised pre-training of a teacher: masked reconstruction, Point-JEPA, or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.groupings import GroupedShapes, group_shapes
from foundry_edge.data.shapes import ShapeSet, load_sets
from foundry_edge.evaluation.features import global_features
from foundry_edge.evaluation.probe import probe_accuracy
from foundry_edge.models.config import VIT_TI, TeacherConfig
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.store import save_weights
from foundry_edge.training.engine import LogRow, Objective, train
from foundry_edge.training.jepa import JointEmbedding
from foundry_edge.training.mae import MaskedReconstruction
from foundry_edge.training.report import Report, chained, plot_loss
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import write_text

PROBE_SHAPES = 800
COLLAPSED_STD = 0.01
Name = Literal["staged", "mae", "jepa"]


@dataclass(frozen=True)
class Stage:
    """One objective for a number of passes over the corpus."""

    name: Literal["mae", "jepa"]
    epochs: float
    rate: float = 1.0
    """Share of the peak learning rate."""


@dataclass(frozen=True)
class ProbeData:
    """A fit and a validation part, both from the training side of one labelled set."""

    name: str
    groups: GroupedShapes
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    fit: int

    def accuracy(self, teacher: Teacher) -> float:
        """Linear-probe accuracy on the validation part, percent."""
        with torch.autocast("cpu", torch.bfloat16):
            features = global_features(teacher.encode_groups, self.groups)
        fit, check = slice(None, self.fit), slice(self.fit, None)
        return probe_accuracy((features[fit], self.labels[fit]), (features[check], self.labels[check]))


def stages(objective: Name, epochs: float) -> list[Stage]:
    """What runs for how long. ``staged`` is the recipe for small machines: two fifths MAE, then JEPA.

    JEPA from scratch falls below random weights for long; started from MAE it improves at once.
    """
    if objective == "staged":
        return [Stage("mae", epochs * 0.4), Stage("jepa", epochs * 0.6, 0.5)]
    return [Stage(objective, epochs)]


def pretrain(
    data: list[Path],
    out: Path = Path("foundry-out/teacher"),
    *,
    config: TeacherConfig = VIT_TI,
    objective: Name = "staged",
    epochs: float = 25.0,
    settings: TrainSettings | None = None,
    variants: int = 3,
    probe_every: int = 500,
    resume: bool = False,
) -> Path:
    """Pre-train a teacher without labels on the training sides of ``data``.

    Args:
        data: .npz data sets or folders of them.
        out: folder for config.json, model.safetensors, log.jsonl, loss.png and checkpoints.
        config: sizes of the teacher.
        objective: "staged" (MAE, then JEPA), "mae" or "jepa".
        epochs: passes over the corpus, all stages together.
        settings: optimisation settings; ``steps`` is replaced by what ``epochs`` needs.
        variants: cached groupings per shape.
        probe_every: steps between linear probes on a validation split of the training side.
        resume: continue from the checkpoints in ``out``.

    Returns:
        ``out``.

    Raises:
        DataError: nothing to train on, or the loss diverged.
        CheckpointError: the checkpoint to resume from is of another run.
    """
    settings = settings or TrainSettings(batch=64)
    sides = training_side(load_sets(data))
    if not sum(map(len, sides)):
        raise DataError("no training shapes", where=", ".join(map(str, data)), remedy="see docs/data.md")
    corpus = grouped_corpus(sides, config.preprocessing, variants, settings.seed, out / "cache")
    probes = probe_sets(sides, config)
    torch.manual_seed(settings.seed)
    teacher = Teacher(config)
    _calibrate(teacher, corpus)
    write_text(out / "settings.json", settings.model_dump_json(indent=2) + "\n")
    for number, stage in enumerate(stages(objective, epochs)):
        plan = _plan(settings, stage, len(corpus))
        module = MaskedReconstruction(teacher, corpus) if stage.name == "mae" else JointEmbedding(teacher, corpus)
        _run_stage(module, module, teacher, stage, plan, len(corpus), probes, out, probe_every, number == 0, resume)
        save_weights(out, config, teacher)
    plot_loss(out / "log.jsonl", out / "loss.png")
    return out


def _plan(settings: TrainSettings, stage: Stage, count: int) -> TrainSettings:
    steps = max(int(count * stage.epochs / settings.batch), 1)
    return settings.model_copy(update={"steps": steps, "learning_rate": settings.learning_rate * stage.rate})


def _run_stage(
    module: nn.Module,
    objective: Objective,
    teacher: Teacher,
    stage: Stage,
    plan: TrainSettings,
    count: int,
    probes: list[ProbeData],
    out: Path,
    probe_every: int,
    first: bool,
    resume: bool,
) -> None:
    with Report(stage.name, out / "log.jsonl", fresh=first and not resume) as report:
        watch = chained(report.row, _collapse_warning(report), _probe(report, teacher, probes, probe_every))
        train(module, objective, count, plan, out / f"checkpoint-{stage.name}.pt", watch, resume)


def _calibrate(teacher: Teacher, corpus: GroupedShapes) -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randperm(len(corpus), generator=generator)[:256]
    teacher.tokenizer.calibrate_batch_norm(corpus.batch(index, torch.zeros_like(index))[0])


def probe_sets(sides: list[ShapeSet], config: TeacherConfig, most: int = 2) -> list[ProbeData]:
    """The largest labelled sets of the training side, each cut into fit and validation parts."""
    labelled = [s for s in sides if 2 <= len(np.unique(s.label[s.label >= 0])) <= len(s) // 10]
    largest = sorted(labelled, key=len, reverse=True)[:most]
    return [_probe_data(s, config) for s in largest]


def _probe_data(shapes: ShapeSet, config: TeacherConfig) -> ProbeData:
    order = np.random.default_rng(0).permutation(len(shapes))[:PROBE_SHAPES]
    groups = group_shapes(shapes.xyz[order], config.preprocessing, 1, 0)
    return ProbeData(shapes.name, groups, shapes.label[order], len(order) * 3 // 4)


def _probe(
    report: Report, teacher: Teacher, probes: list[ProbeData], every: int
) -> Callable[[LogRow], None]:
    seen = [-1]

    def call(row: LogRow) -> None:
        if row.step // every == seen[0] and row.step != row.steps:
            return
        seen[0] = row.step // every
        accuracies = {f"probe_{p.name}": round(p.accuracy(teacher), 2) for p in probes}
        report.note({"stage": report.stage, "step": row.step, **accuracies})
        shown = "  ".join(f"{k} {v:.1f} %" for k, v in accuracies.items())
        report.console.print(f"{report.stage} {row.step}/{row.steps}  validation {shown}", highlight=False)

    return call


def _collapse_warning(report: Report) -> Callable[[LogRow], None]:
    def call(row: LogRow) -> None:
        std = row.figures.get("feature_std", 1.0)
        if std < COLLAPSED_STD:
            report.console.print(f"warning: features are collapsing (standard deviation {std:.4f})", style="yellow")

    return call
