"""Probes of frozen features from the cached tokens of a labelled set; see student_table.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.data.shapes import TEST, TRAIN, ShapeSet
from foundry_edge.evaluation.part_probe import probe_parts
from foundry_edge.measures.miou import part_lists
from foundry_edge.measures.probe import fit_probe
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.heads import pool
from foundry_edge.training.parts import part_data
from foundry_edge.training.targets import TeacherTargets, tokens_for
from foundry_edge_runtime.grouping import Preprocessing

SHOTS, TRIALS = 10, 10
Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass
class ProbeSet:
    """One labelled data set as the frozen, shared tokenizer sees it."""

    shapes: ShapeSet
    targets: TeacherTargets
    grouped: GroupedShapes
    spec: Preprocessing

    @torch.no_grad()
    def features(self, model: Compressed, count: int) -> Tensor:
        """Token features (M, c, d) of a compressed model."""
        parts = []
        for rows in torch.arange(len(self.targets)).split(64):
            cached, centers, _ = self.targets.batch(rows, torch.device("cpu"))
            tokens = tokens_for(model, self.targets, rows, cached)
            parts.append(model.reconstruct(tokens, centers, count).features)
        return torch.cat(parts)

    def judge(self, tokens: Tensor) -> dict[str, float]:
        """Probes in percent of token features (M, c, d).

        Of a set with part labels: the mean IoU of the linear part probe on test. Of others: linear and
        10-shot accuracy, each on validation and on test.
        """
        if self.shapes.part_label is not None:
            return self._parts(tokens)
        features = pool(tokens).numpy()
        known = self.shapes.label >= 0
        label, split = self.shapes.label[known], self.shapes.split[known]
        features = features[known]
        fit, test = np.flatnonzero(split == TRAIN), np.flatnonzero(split == TEST)
        held = np.random.default_rng(0).permutation(fit)
        check, rest = held[: len(held) // 5], held[len(held) // 5 :]
        found = {
            "validation": _accuracy(features, label, rest, check),
            "test": _accuracy(features, label, fit, test),
        }
        if len(_well_known(label, rest)) > 1:
            found["10-shot"] = _few_shot(features, label, fit, test)
            found["10-shot validation"] = _few_shot(features, label, rest, check)
        return found

    def _parts(self, tokens: Tensor) -> dict[str, float]:
        data = part_data(self.shapes, self.grouped, self.spec)
        fit, check = self.shapes.split == TRAIN, self.shapes.split == TEST
        sides = (data.where(fit), tokens[fit]), (data.where(check), tokens[check])
        found = probe_parts(sides, part_lists(self.shapes), 0)
        return {name: round(value, 2) for name, value in found.items()}


def _accuracy(features: Array, label: Labels, fit: Labels, check: Labels) -> float:
    probe = fit_probe(features[fit], label[fit])
    return round(100 * float(probe.score(features[check], label[check])), 2)


def _well_known(label: Labels, fit: Labels) -> list[int]:
    """Classes with `SHOTS` training shapes or more."""
    return [c for c in np.unique(label[fit]) if (label[fit] == c).sum() >= SHOTS]


def _few_shot(features: Array, label: Labels, fit: Labels, check: Labels) -> float:
    """Mean accuracy over trials of `SHOTS` random training shapes of every class that has so many."""
    rng = np.random.default_rng(0)
    classes = _well_known(label, fit)
    asked = check[np.isin(label[check], classes)]
    found = []
    for _ in range(TRIALS):
        shots = [rng.choice(fit[label[fit] == c], SHOTS, replace=False) for c in classes]
        found.append(_accuracy(features, label, np.concatenate(shots), asked))
    return round(float(np.mean(found)), 2)
