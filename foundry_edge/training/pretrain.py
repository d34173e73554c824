"""Self-supervised pre-training of a teacher: masked reconstruction, Point-JEPA, or one after the other."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shape_set import data_digest
from foundry_edge.data.shapes import load_sets
from foundry_edge.models.config import VIT_TI, TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.claim import CACHE, check_out, claim
from foundry_edge.training.engine import train
from foundry_edge.training.jepa import JointEmbedding
from foundry_edge.training.mae import MaskedReconstruction
from foundry_edge.training.plot import plot_loss
from foundry_edge.training.processes import check_device, is_main_process
from foundry_edge.training.report import Report, chained
from foundry_edge.training.settings import TrainSettings, write_settings
from foundry_edge.training.watch import (
    ValidationProbe,
    validation_probes,
    watch_collapse,
    watch_probes,
    why_no_probe,
)
from foundry_edge_runtime.errors import DataError

PROBE_EVERY = 500
VARIANTS = 3
Name = Literal["staged", "mae", "jepa"]


@dataclass(frozen=True)
class Stage:
    """One objective for a number of passes over the corpus, at a share of the peak learning rate."""

    name: Literal["mae", "jepa"]
    epochs: float
    rate: float = 1.0
    freeze_tokenizer: bool = False


@dataclass(frozen=True)
class PretrainReport:
    """What `pretrain` did.

    Attributes:
        out: folder of the teacher.
        shapes: training shapes.
        seconds: wall time.
        stage: whose teacher was kept, "mae" or "jepa".
        probes: set name -> linear-probe accuracy in percent on a validation split of its training side.
        unprobed: why there are no probes; empty where there are.
    """

    out: Path
    shapes: int
    seconds: float
    stage: str
    probes: dict[str, float]
    unprobed: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": 1, **asdict(self), "out": str(self.out)}


def stages(objective: Name, epochs: float, mae_share: float, judged: bool = True) -> list[Stage]:
    """What runs for how long. ``staged`` is the recipe for small machines: MAE first, then JEPA.

    JEPA from scratch falls below random weights for long. After MAE the tokenizer stays as it is. Where no
    probe can judge the two (``judged`` is false), all epochs go to MAE, which was better by more figures.
    """
    if objective == "staged" and not judged:
        return [Stage("mae", epochs)]
    if objective == "staged":
        return [Stage("mae", epochs * mae_share), Stage("jepa", epochs * (1 - mae_share), 0.5, True)]
    return [Stage(objective, epochs)]


def pretrain(
    data: list[Path] | None = None,
    out: Path = Path("foundry-out/teacher"),
    *,
    config: TeacherConfig = VIT_TI,
    objective: Name = "staged",
    epochs: float = 20.0,
    mae_share: float = 0.5,
    settings: TrainSettings | None = None,
    resume: bool = False,
) -> PretrainReport:
    """Pre-train a teacher without labels on the training sides of ``data``.

    Of the staged recipe the teacher after JEPA is kept, unless the mean of the validation probes was higher
    after MAE. Where no set has the labels for a probe, nothing can tell which is better: MAE then has all the
    epochs, and a line says so.

    Args:
        data: .npz data sets or folders of them; None is the embedded sample set.
        out: folder for config.json, model.safetensors, log.jsonl, loss.png and checkpoints. A model that is
            there is moved to its folder previous.
        config: sizes of the teacher.
        objective: "staged" (MAE, then JEPA), "mae" or "jepa".
        epochs: passes over the corpus, all stages together.
        mae_share: share of the epochs that the staged recipe gives to MAE, 0..1.
        settings: optimisation settings; ``steps`` is replaced by what ``epochs`` needs.
        resume: continue from the checkpoints in ``out``. A finished run of one objective goes on when
            ``epochs`` has grown.

    Raises:
        InputError: ``out`` is a file.
        DataError: nothing to train on, or the loss diverged.
        CheckpointError: the checkpoint to resume from is damaged or of another run.
        EnvironmentFault: there is no such accelerator here.
    """
    started = time.perf_counter()
    settings = (settings or TrainSettings(batch=32, learning_rate=5e-4)).resolved()
    check_device(settings)
    check_out(out)
    sets = [load_samples()] if data is None else load_sets(data)
    sides = training_side(sets)
    if not sum(map(len, sides)):
        raise DataError("the data hold no training shapes", remedy="mark some with split 0; see docs/data.md")
    corpus = grouped_corpus(sides, config.preprocessing, VARIANTS, settings.seed, out / CACHE)
    probes, unprobed = validation_probes(sides, config), why_no_probe(sides)
    run = _Run(_fresh_teacher(config, corpus, settings.seed), corpus, probes, out, resume)
    teacher = config.model_dump(mode="json")
    made_of: dict[str, Any] = {
        "teacher": teacher,
        "objective": objective,
        "mae_share": mae_share,
        "shapes": len(corpus),
        "data": [shapes.name for shapes in sets],
        "data_sha256": data_digest(sets),
    }
    if objective == "staged":
        made_of["epochs"] = epochs
    claim(out, made_of, resume)
    if is_main_process() and not resume:
        (out / "log.jsonl").unlink(missing_ok=True)
    if objective == "staged" and unprobed and is_main_process():
        _say_unjudged(unprobed)
    for stage in stages(objective, epochs, mae_share, not unprobed):
        run.stage(stage, settings)
        if is_main_process():
            save_weights(out, config, run.teacher)
            plot_loss(out / "log.jsonl", out / "loss.png")
    seconds = round(time.perf_counter() - started, 1)
    return PretrainReport(out, len(corpus), seconds, run.kept, run.found, unprobed)


def _say_unjudged(unprobed: str) -> None:
    Console(stderr=True).print(
        f"no validation probe ({unprobed}), so nothing can tell whether jepa helps: mae has all the epochs; "
        "--objective jepa runs jepa",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@dataclass
class _Run:
    """The stages in turn; the teacher is the better one so far.

    Attributes:
        kept: name of the stage it comes from.
        found: its accuracies by the validation probes.
    """

    teacher: Teacher
    corpus: GroupedShapes
    probes: list[ValidationProbe]
    out: Path
    resume: bool
    kept: str = ""
    found: dict[str, float] = field(default_factory=dict)

    def stage(self, stage: Stage, settings: TrainSettings) -> None:
        before = {name: tensor.clone() for name, tensor in self.teacher.state_dict().items()}
        module = _objective(stage, self.teacher, self.corpus)
        plan = _plan(settings, stage, len(self.corpus))
        checkpoint = self.out / f"checkpoint-{stage.name}.pt"
        with Report(stage.name, self.out / "log.jsonl") as report:
            watch = chained(report.row, watch_collapse(report))
            if self.probes:
                watch = chained(watch, watch_probes(report, self.teacher, self.probes, PROBE_EVERY))
            train(
                module,
                module,
                len(self.corpus),
                plan,
                checkpoint,
                watch,
                self.resume,
                on_start=lambda: write_settings(self.out, settings),
            )
            self._keep_the_better(stage.name, before, report)

    def _keep_the_better(self, name: str, before: dict[str, Tensor], report: Report) -> None:
        found = {p.name: round(p.accuracy(self.teacher), 2) for p in self.probes}
        if self.kept and found and fmean(found.values()) < fmean(self.found.values()):
            self.teacher.load_state_dict(before)
            lower = f"{fmean(found.values()):.1f} % after {fmean(self.found.values()):.1f} %"
            report.console.print(
                f"{name} lowered the validation probes ({lower} on average): the teacher after {self.kept} "
                "is kept",
                highlight=False,
                soft_wrap=True,
            )
        else:
            self.kept, self.found = name, found


def _objective(
    stage: Stage, teacher: Teacher, corpus: GroupedShapes
) -> MaskedReconstruction | JointEmbedding:
    if stage.name == "mae":
        return MaskedReconstruction(teacher, corpus)
    return JointEmbedding(teacher, corpus, stage.freeze_tokenizer)


def _plan(settings: TrainSettings, stage: Stage, count: int) -> TrainSettings:
    steps = max(int(count * stage.epochs / settings.batch), 1)
    return settings.model_copy(update={"steps": steps, "learning_rate": settings.learning_rate * stage.rate})


def _fresh_teacher(config: TeacherConfig, corpus: GroupedShapes, seed: int) -> Teacher:
    torch.manual_seed(seed)
    teacher = Teacher(config)
    index = torch.randperm(len(corpus), generator=torch.Generator().manual_seed(seed))[:256]
    teacher.tokenizer.calibrate_batch_norm(corpus.batch(index, torch.zeros_like(index))[0])
    return teacher
