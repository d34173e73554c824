"""What a model costs: multiply-accumulates by stage and budget, and the size of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_edge.load import load_model
from foundry_edge.models.config import CompressedConfig, TeacherConfig
from foundry_edge.models.macs import Stages, compressed_macs, teacher_macs
from foundry_edge_runtime.errors import InputError


@dataclass(frozen=True)
class BudgetCost:
    """One cloud through a model at one budget.

    Attributes:
        tokens: s; None where the model has one cost only.
        macs: stage -> multiply-accumulates.
    """

    tokens: int | None
    macs: Stages

    @property
    def total(self) -> int:
        """Multiply-accumulates of all stages."""
        return sum(self.macs.values())

    @property
    def flops(self) -> int:
        """Floating-point operations: two per multiply-accumulate."""
        return 2 * self.total


@dataclass(frozen=True)
class CostReport:
    """What `macs` found.

    Attributes:
        model: its name.
        kind: teacher, student, truncation or mimicry.
        groups: c that was counted with.
        parameters: numbers in its weights.
        budgets: one cost per budget.
        teacher_total: multiply-accumulates of its teacher (its own, where it is one).
    """

    model: str
    kind: str
    groups: int
    parameters: int
    budgets: tuple[BudgetCost, ...]
    teacher_total: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {"tokens": b.tokens, "macs": b.macs, "total": b.total, "flops": b.flops} for b in self.budgets
        ]
        return {
            "schema": 1,
            "model": self.model,
            "kind": self.kind,
            "groups": self.groups,
            "parameters": self.parameters,
            "weight_bytes_fp32": 4 * self.parameters,
            "teacher_total": self.teacher_total,
            "budgets": rows,
        }


def macs(model: str | Path = "embedded:student", groups: int | None = None) -> CostReport:
    """Count the multiply-accumulates of one cloud through a model, by stage, attention included.

    Args:
        model: folder of a teacher, student or baseline, ``embedded:teacher`` or ``embedded:student``.
        groups: c to count with in place of the model's own, for scenes.

    Raises:
        CheckpointError: the model is missing, damaged or of an unknown kind.
        InputError: ``groups`` is smaller than a budget of the model.
    """
    loaded = load_model(model)
    config = loaded.config
    if not isinstance(config, (TeacherConfig, CompressedConfig)):
        raise TypeError(f"no count for {type(config).__name__}")
    teacher = config if isinstance(config, TeacherConfig) else config.teacher
    if groups is not None:
        if groups < max(loaded.budgets, default=1):
            raise InputError(
                f"expected at least {max(loaded.budgets, default=1)} groups, got {groups}", where="--groups"
            )
        teacher = _with_groups(teacher, groups)
    total = teacher_macs(teacher)
    if isinstance(config, CompressedConfig):
        config = config.model_copy(update={"teacher": teacher})
        budgets = [BudgetCost(s or None, compressed_macs(config, s)) for s in loaded.budgets or (0,)]
    else:
        budgets = [BudgetCost(None, total)]
    return CostReport(
        model=loaded.name,
        kind=teacher.kind if isinstance(config, TeacherConfig) else config.kind,
        groups=teacher.preprocessing.groups,
        parameters=sum(p.numel() for p in loaded.module.parameters()),
        budgets=tuple(budgets),
        teacher_total=sum(total.values()),
    )


def _with_groups(teacher: TeacherConfig, groups: int) -> TeacherConfig:
    spec = teacher.preprocessing.model_copy(update={"groups": groups})
    return teacher.model_copy(update={"preprocessing": spec})
