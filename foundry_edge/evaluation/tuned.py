"""The protocol `finetune`: all weights trained by Point-JEPA's recipe, once per seed."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from foundry_edge.data.groupings import GroupedShapes, cached_groupings
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge.evaluation.rungs import EvaluatedRung, feature_digest
from foundry_edge.evaluation.subject import Judged
from foundry_edge.evaluation.training_cache import training_folder
from foundry_edge.load import load_model
from foundry_edge.measures.metrics import Metrics, mean_and_deviation
from foundry_edge.models.model import Model
from foundry_edge.training.classify import judge_classifier, mlp_head, tune_classifier
from foundry_edge.training.finetune import default_settings, labelled
from foundry_edge.training.stages import Stages
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.errors import InputError

EPOCHS = 30.0
VARIANTS = 3
"""Subsets of the points of each training shape."""


def fine_tuning(
    name: str, rungs: list[EvaluatedRung], judged: Judged, seeds: tuple[int, ...], epochs: float | None
) -> tuple[list[Metrics], int]:
    """Accuracy in percent after fine-tuning, one training per seed for all budgets together.

    The recipe: the encoder frozen for a sixth of the epochs, then thawed; MLP head, label smoothing 0.2,
    random scale, AdamW. It resumes where it was interrupted.

    Args:
        name: of the model.
        rungs: its budgets.
        judged: the data.
        seeds: of head, batches and augmentation.
        epochs: passes over the training side; None takes 30.

    Raises:
        InputError: a rung is an engine, which cannot be trained.
        DataError: a side has no labelled shape.
    """
    if any(rung.model is None for rung in rungs):
        raise InputError(
            "an exported rung cannot be fine-tuned",
            where=name,
            remedy="give the student it was exported from",
        )
    shapes = labelled(judged.shapes)
    budgets = tuple(rung.tokens for rung in rungs)
    made_of = feature_digest(name), budgets, epochs or EPOCHS, VARIANTS
    found: list[list[Metrics]] = []
    for seed in seeds:
        settings = default_settings(seed)
        folder = training_folder("finetune", shapes, settings, *made_of)
        stages = Stages(folder, settings, epochs or EPOCHS, True, Console(quiet=True), judged.advance)
        found.append(_tuned_once(load_model(name), shapes, budgets, stages))
    metrics = [
        mean_and_deviation("accuracy", [one[i]["accuracy"] for one in found]) for i in range(len(rungs))
    ]
    return metrics, int((shapes.split == TEST).sum())


def _tuned_once(
    model: Model, shapes: ShapeSet, budgets: tuple[int | None, ...], stages: Stages
) -> list[Metrics]:
    """The metrics of every budget after one training."""
    train, test = _sides(model, shapes, cache_folder() / "groupings")
    fit, check = shapes.part(TRAIN), shapes.part(TEST)
    torch.manual_seed(stages.settings.seed)
    head = mlp_head(model.width, len(shapes.classes))
    tune_classifier(model, head, train, fit.label, budgets, stages)
    return [judge_classifier(model, head, test, check.label, budget) for budget in budgets]


def _sides(model: Model, shapes: ShapeSet, cache: Path) -> tuple[GroupedShapes, GroupedShapes]:
    """Groupings of the training side in several variants, and of the test side (the first N points)."""
    spec = model.preprocessing
    train = cached_groupings(shapes.part(TRAIN).xyz, spec, VARIANTS, 0, cache)
    return train, cached_groupings(shapes.part(TEST).xyz, spec, 1, 0, cache)
