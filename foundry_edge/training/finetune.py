"""Fine-tune a student (or teacher, or baseline) for a task: its own labels, without its teacher."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel
from rich.console import Console

from foundry_edge.data.one_set import one_set
from foundry_edge.data.scan_views import grouped_views
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet, data_digest
from foundry_edge.load import load_model, model_digest, model_folder
from foundry_edge.measures.metrics import Metrics
from foundry_edge.models.heads import ClassificationHead
from foundry_edge.models.model import Model, budgets_of
from foundry_edge.models.part_head import PART_HEAD
from foundry_edge.models.store import copy_weights, save_weights
from foundry_edge.training.claim import CACHE, check_out, claim
from foundry_edge.training.classify import fitted_head, judge_classifier, tune_classifier
from foundry_edge.training.processes import check_alone, check_device
from foundry_edge.training.segment import segmented
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.stages import Stages, Tuning
from foundry_edge_runtime.errors import DataError, InputError
from foundry_edge_runtime.files import write_text

Task = Literal["classification", "parts"]
TASKS = ("classification", "parts")
JUDGED = {"accuracy": 0, "turned": 2, "turned_one_side": 1}
"""Metrics of classification, the share named rightly in percent, and which view of `scan_view` it is of."""


@dataclass(frozen=True)
class TunedBudget:
    """The test side's metrics at one budget, in percent; tokens is None where there is no budget."""

    tokens: int | None
    metrics: Metrics


@dataclass(frozen=True)
class FinetuneReport:
    """What `finetune` did.

    Attributes:
        out: folder of the fine-tuned model.
        model: what it started from.
        data: name of the data set.
        task: classification or parts.
        shapes: training shapes.
        samples: test shapes.
        seconds: wall time.
        budgets: one result per budget.
    """

    out: Path
    model: str
    data: str
    task: str
    shapes: int
    samples: int
    seconds: float
    budgets: tuple[TunedBudget, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": 1, **asdict(self), "out": str(self.out)}


def finetune(
    student: str | Path = "embedded:student",
    data: str | Path | ShapeSet | None = None,
    task: str = "classification",
    *,
    out: Path = Path("foundry-out/finetuned"),
    tokens: tuple[int, ...] | None = None,
    epochs: float = 30.0,
    frozen: bool = False,
    views: int = 4,
    hidden: int | None = None,
    settings: TrainSettings | None = None,
    resume: bool = False,
) -> FinetuneReport:
    """Train a model, or only a head on it, for a task and write it to ``out``, ready for `export`.

    The encoder is frozen first, then thawed (Point-JEPA, section 4.2). For classification the frozen stage
    is solved at once: the head is fitted to frozen features of the training side, by default as the linear
    probe. For parts a head is trained on the frozen encoder for a sixth of the epochs. Every step draws
    one of the budgets. Classification is judged on the test side as it is, turned about the vertical, and
    turned and seen by one camera.

    Args:
        student: folder of a model in torch, ``embedded:student`` or ``embedded:teacher``.
        data: anything that `load_sets` opens as one set, or a set; None takes the embedded samples.
        task: classification, or parts (the set has part labels).
        out: folder for config.json, model.safetensors, report.json, logs and checkpoints; a head for parts
            lies in its folder part_head. A model that is there is moved to its folder previous.
        tokens: budgets to train and judge; None takes all.
        epochs: passes over the training side, frozen and thawed together.
        frozen: train the head alone. For parts the model's files are then copied as they are, so that the
            head goes with bundles of that model.
        views: clouds of each training shape: as it is, turned, and as one camera sees it (`scan_view`); 1
            takes it as it is alone, as published protocols do. A head that saw only shapes that face one way
            does not know them turned.
        hidden: channels of the head's hidden layer; None takes no such layer for classification, and the
            default of `PartHeadConfig` for parts.
        settings: optimisation settings; its ``steps`` follow from ``epochs``.
        resume: continue from the checkpoints in ``out``.

    Raises:
        InputError: no such task or budget, a model that cannot have a head, ``out`` is the model's folder, or
            there are several processes.
        DataError: the data lack labels or a side, or show one class alone where classes are learned.
        EnvironmentFault: there is no such accelerator here.
        CheckpointError: model or checkpoint is missing, damaged or of another run.
    """
    started = time.perf_counter()
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}", where="--task", remedy=f"use {' or '.join(TASKS)}")
    how = Tuning(frozen, views, hidden)
    settings = settings or default_settings(0)
    check_device(settings)
    check_alone("finetune")
    check_out(out, student)
    classes = 2 if task == "classification" else 1
    model, shapes = load_model(student), labelled(one_set(data), classes)
    budgets = budgets_of(model, tokens)
    claim(out, {**_made_of(student, shapes, task, budgets), **asdict(how)}, resume)
    stages = Stages(out, settings, epochs, resume, Console(stderr=True))
    torch.manual_seed(settings.seed)
    if task == "classification":
        metrics = _classification(model, shapes, budgets, stages, how)
    else:
        head, metrics = segmented(model, shapes, budgets, stages, how)
        _write_model(student, model, out, frozen)
        save_weights(out / PART_HEAD, head.config, head)
    report = FinetuneReport(
        out=out,
        model=str(student),
        data=shapes.name,
        task=task,
        shapes=int((shapes.split == TRAIN).sum()),
        samples=int((shapes.split == TEST).sum()),
        seconds=round(time.perf_counter() - started, 1),
        budgets=tuple(TunedBudget(b, m) for b, m in zip(budgets, metrics, strict=True)),
    )
    write_text(out / "report.json", json.dumps(report.as_dict(), indent=2) + "\n")
    return report


def default_settings(seed: int) -> TrainSettings:
    """Batch 32, AdamW with rate 3e-4 and weight decay 0.05, as point2vec and Point-JEPA fine-tune."""
    return TrainSettings(batch=32, learning_rate=3e-4, weight_decay=0.05, seed=seed)


def labelled(shapes: ShapeSet, classes: int = 2) -> ShapeSet:
    """The shapes with a label.

    Args:
        shapes: a set.
        classes: that the training side must show at least.

    Raises:
        DataError: one side of the split has none, or the training side shows too few classes.
    """
    kept = shapes.where(shapes.label >= 0)
    for side, name in ((TRAIN, "training"), (TEST, "test")):
        if not (kept.split == side).any():
            raise DataError(
                f"has no labelled shape on the {name} side",
                where=shapes.name,
                remedy="give labels and a split (docs/data.md)",
            )
    if len(np.unique(kept.label[kept.split == TRAIN])) < classes:
        raise DataError(
            "its training side shows one class only, and a classifier learns to tell two or more apart",
            where=shapes.name,
            remedy="give shapes of another class too (docs/data.md)",
        )
    return kept


def _made_of(
    student: str | Path, shapes: ShapeSet, task: str, budgets: tuple[int | None, ...]
) -> dict[str, Any]:
    return {
        "model": model_digest(student),
        "data": shapes.name,
        "data_sha256": data_digest([shapes]),
        "task": task,
        "tokens": budgets,
        "shapes": len(shapes),
    }


def _classification(
    model: Model, shapes: ShapeSet, budgets: tuple[int | None, ...], stages: Stages, how: Tuning
) -> list[Metrics]:
    hidden = how.hidden or 0
    config = with_labels(model, shapes.classes, hidden)
    spec, cache, seed = model.preprocessing, stages.folder / CACHE, stages.settings.seed
    fit, check = shapes.part(TRAIN), shapes.part(TEST)
    train = grouped_views(fit.xyz, spec, how.views, seed, cache)
    head = fitted_head(model, train, fit.label, len(shapes.classes), budgets[-1], hidden)
    if not how.frozen:
        tune_classifier(model, head, train, fit.label, budgets, stages)
    module: Any = model.module
    module.head = head.requires_grad_(False)
    save_weights(stages.folder, config, module)
    tests = grouped_views(check.xyz, spec, len(JUDGED), 0, cache).variants()
    return [
        {
            name: judge_classifier(model, head, tests[view], check.label, budget)["accuracy"]
            for name, view in JUDGED.items()
        }
        for budget in budgets
    ]


def with_labels(model: Model, labels: tuple[str, ...], hidden: int = 0) -> BaseModel:
    """The model's config with other labels, and a head with ``hidden`` channels in between.

    Raises:
        InputError: this kind of model has no classification head.
    """
    config: Any = model.config
    if not isinstance(getattr(model.module, "head", None), ClassificationHead | None):
        raise InputError("this kind of model cannot be given a head", where=model.name)
    fields, head = type(config).model_fields, {"labels": labels, "head_hidden": hidden}
    if "labels" in fields:
        update: dict[str, Any] = head
    elif "teacher" in fields:
        update = {"teacher": config.teacher.model_copy(update=head)}
    else:
        raise InputError("this kind of model has no labels", where=model.name, remedy="give a student")
    changed: BaseModel = config.model_copy(update=update)
    return changed


def _write_model(student: str | Path, model: Model, out: Path, frozen: bool) -> None:
    if frozen and not Path(student).is_file():
        copy_weights(model_folder(student), out)
    else:
        save_weights(out, model.config, model.module)
