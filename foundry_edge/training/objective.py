"""The distillation objective: Smooth L1 between the student's and the teacher's tokens (Foundry eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from foundry_edge.models.compressed import Compressed
from foundry_edge.models.dso import usage
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.student import Student
from foundry_edge.training.engine import Step
from foundry_edge.training.merge_rate import MergeRate
from foundry_edge.training.processes import mean_over_processes
from foundry_edge.training.schedule import cosine
from foundry_edge.training.targets import TeacherTargets, tokens_for

TEMPERATURE = (1.0, 0.3)
MERGE_RATE = 0.75
TOKEN_SHARE = 0.3
"""Weight of the teacher's tokens in the loss of a student with a tokenizer of its own."""
SCALE_ROWS = 256
"""Clouds, spread over all, from which the scale of each channel of the teacher's tokens is taken."""


class Distillation(nn.Module):
    """One elastic student: each step draws one budget s and trains that prefix of SuperTokens.

    With one budget the student is a dedicated one. Tokenizer, positions and head stay the teacher's; a light
    tokenizer learns the teacher's tokens along with the features.

    Args:
        model: what is trained, in place.
        targets: the teacher's tokens and features.
        temperature: of Gumbel-Softmax at the first and at the last step; a cosine between.
        merge_rate: share of the tokens that the gate is to merge, where there is a gate.
        freeze_encoder: keep the teacher's blocks as they are.
        project: from the model's output to the targets' features, trained too; None where they are alike.
    """

    def __init__(
        self,
        model: Compressed,
        targets: TeacherTargets,
        temperature: tuple[float, float] = TEMPERATURE,
        merge_rate: float = MERGE_RATE,
        freeze_encoder: bool = False,
        project: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.student = model
        self.targets = targets
        self.project = project or nn.Identity()
        self.temperature = temperature
        gated = isinstance(model, Student) and model.gate is not None
        rows = torch.arange(min(SCALE_ROWS, len(targets))) * len(targets) // min(SCALE_ROWS, len(targets))
        self.token_scale = targets.tokens[rows].float().flatten(0, 1).std(dim=0).clamp_min(1e-3)
        self.merge_rate = MergeRate(merge_rate) if gated else None
        freeze(model, freeze_encoder)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """Smooth L1 at a budget drawn from the step's generator."""
        budgets = self.student.budgets or (0,)
        count = budgets[int(step.generator.initial_seed() % len(budgets))]
        wanted, centers, features = self.targets.batch(step.index, next(self.student.parameters()).device)
        tokens = tokens_for(self.student, self.targets, step.index, wanted)
        sampling = Sampling(cosine(step.progress, *self.temperature), step.uniform)
        made = self.student.reconstruct(tokens, centers, count, sampling)
        loss = self.criterion(self.project(made.features).float(), features, step.index)
        figures = {f"loss_s{count}": float(loss.detach())} if count else {}
        if self.student.config.tokenizer == "lite":
            scale = self.token_scale.to(wanted.device)
            gap = smooth_l1_loss(tokens.float() / scale, wanted / scale)
            figures["token_loss"] = float(gap.detach())
            loss = loss + TOKEN_SHARE * gap
        if made.assignment is not None:
            figures |= _usage(made.assignment, count)
        if self.merge_rate is not None and made.merge is not None:
            figures |= {
                "merge_rate": float(made.merge.detach().mean()),
                "lambda": float(self.merge_rate.price),
            }
            loss = loss + self.merge_rate.penalty(made.merge, mean_over_processes(loss.detach()))
        return loss, figures

    def criterion(self, made: Tensor, wanted: Tensor, index: Tensor) -> Tensor:
        """Smooth L1 of features (B, c, d) against the teacher's; ``index`` (B,) says of which clouds."""
        return smooth_l1_loss(made, wanted)

    def after_step(self, step: Step) -> None:
        """Adapt the price of merging, where there is a gate."""
        if self.merge_rate is not None:
            self.merge_rate.adapt()


def _usage(assignment: Tensor, count: int) -> dict[str, float]:
    """For every log row: the share of SuperTokens in use and their entropy; the number in use per budget."""
    found = usage(assignment)
    return {
        "in_use": found["in_use"] / count,
        "entropy": found["entropy"],
        f"in_use_s{count}": found["in_use"],
    }


def freeze(model: Compressed, encoder: bool = False) -> None:
    """Keep the teacher's tokenizer, positions and head as they are; with ``encoder`` its blocks too."""
    frozen: list[nn.Module | None] = [model.position, model.head]
    if model.config.tokenizer == "full":
        frozen.append(model.tokenizer)
    if encoder:
        frozen += [getattr(model, name, None) for name in ("encoder", "mixing")]
    for part in frozen:
        if part is not None:
            part.requires_grad_(False)
