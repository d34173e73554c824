"""The distillation objective: Smooth L1 between the student's and the teacher's tokens (Foundry eq. 6)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from foundry_edge.models.dso import usage
from foundry_edge.models.student import Student
from foundry_edge.training.engine import Step
from foundry_edge.training.schedule import cosine
from foundry_edge.training.targets import TeacherTargets

TEMPERATURE = (1.0, 0.3)


class Distillation(nn.Module):
    """One elastic student: each step draws one budget s and trains that prefix of SuperTokens."""

    def __init__(self, student: Student, targets: TeacherTargets) -> None:
        super().__init__()
        self.student = student
        self.targets = targets
        for part in (student.tokenizer, student.position, student.head):
            if part is not None:
                part.requires_grad_(False)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """Smooth L1 at a budget drawn from the step's generator."""
        budgets = self.student.config.tokens
        count = budgets[int(step.generator.initial_seed() % len(budgets))]
        tokens = self.targets.tokens[step.index].float()
        positions = self.student.position(self.targets.centers[step.index]).float()
        restored, assignment = self.student.restore(
            tokens, positions, count, cosine(step.progress, *TEMPERATURE)
        )
        loss = smooth_l1_loss(restored.float(), self.targets.features[step.index].float())
        figures = {f"loss_s{count}": float(loss.detach())}
        if count == budgets[-1]:
            figures |= usage(assignment)
        return loss, figures

    def after_step(self, step: Step) -> None:
        """Nothing to do."""
