"""A student at one fixed cost: s SuperTokens and k bypassed tokens, static shapes, for engines."""

from __future__ import annotations

from torch import Tensor, nn

from foundry_edge.models.student import Student
from foundry_edge_runtime.errors import InputError


class FixedStudent(nn.Module):
    """Groups and centres to features with s + k rows in the encoder, whatever the cloud; can be traced.

    Args:
        student: its weights are shared, not copied.
        count: s, one of its budgets.
        bypassed: k, tokens with the lowest merge probability, which enter the encoder themselves.

    Raises:
        InputError: k is out of range, or not 0 for a student without a gate.
    """

    def __init__(self, student: Student, count: int, bypassed: int = 0) -> None:
        super().__init__()
        most = student.config.teacher.preprocessing.groups if student.gate is not None else 0
        if not 0 <= bypassed <= most:
            raise InputError(f"expected 0 to {most} bypassed tokens, got {bypassed}", where="--bypassed")
        self.student = student
        self.count = count
        self.bypassed = bypassed

    def forward(self, groups: Tensor, centers: Tensor) -> Tensor:
        """Groups (B, c, K, 3) and centres (B, c, 3) to features (B, c, d)."""
        tokens = self.student.tokenizer(groups)
        made = self.student.reconstruct(tokens, centers, self.count, bypassed=self.bypassed)
        return made.features
