"""How close a student is to its teacher on held-out shapes, at every budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foundry_edge.measures.fidelity import Fidelity, fidelity
from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.dso import usage
from foundry_edge.training.targets import TeacherTargets, tokens_for


@dataclass(frozen=True)
class Measured:
    """A model at one budget on held-out shapes."""

    fidelity: Fidelity
    usage: dict[str, float]


@torch.no_grad()
def measure(
    model: Compressed, held_out: TeacherTargets, project: nn.Module | None = None
) -> dict[int, Measured]:
    """Fidelity and usage at every budget, from cached tokens or its own (float32 arithmetic).

    ``project`` takes the model's output to the features that it is compared with. A method without budgets
    has one entry, under the number of tokens c.
    """
    model.eval()
    device = next(model.parameters()).device
    results = {}
    for count in model.budgets or (held_out.tokens.shape[1],):
        features, figures = [], []
        for rows in torch.arange(len(held_out)).split(64):
            cached, centers, _ = held_out.batch(rows, device)
            tokens = tokens_for(model, held_out, rows, cached)
            made = model.reconstruct(tokens, centers, count)
            features.append((made.features if project is None else project(made.features)).cpu())
            figures.append(_usage(made))
        means = {name: float(np.mean([row[name] for row in figures])) for name in figures[0]}
        results[count] = Measured(fidelity(torch.cat(features), held_out.features.float()), means)
    return results


def _usage(made: Reconstruction) -> dict[str, float]:
    found = {} if made.assignment is None else usage(made.assignment)
    if made.merge is not None and made.assignment is not None:
        found["merged"] = float(made.assignment.sum(dim=2).mean())
    return found
