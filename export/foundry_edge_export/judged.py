"""Rungs of one bundle are judged on the same clouds, or their figures could not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foundry_edge_export.draft import Draft
from foundry_edge_export.evaluation import Evaluation
from foundry_edge_runtime.bundle.manifest import EvaluationSet
from foundry_edge_runtime.errors import InputError


def check_judged_alike(folder: Path, kept: Sequence[Draft], evaluation: Evaluation) -> None:
    """Refuse to add to rungs that were judged on other clouds; `run` chooses among all by their figures.

    Args:
        folder: the bundle.
        kept: its rungs that this export does not replace.
        evaluation: what this export judges on.

    Raises:
        InputError: names the rungs, both sets and the ways out.
    """
    others = {draft.name: _other_clouds(draft, evaluation) for draft in kept}
    unlike = {name: clouds for name, clouds in others.items() if clouds}
    if not unlike:
        return
    raise InputError(
        f"{', '.join(unlike)}: judged on {next(iter(unlike.values()))}, but this export judges on "
        f"{_named(evaluation.stated)}",
        where=folder,
        remedy="give the --evaluation-data of those, export all of them again in one go, "
        "or pick another --out",
    )


def _other_clouds(draft: Draft, evaluation: Evaluation) -> str:
    """What a rung was judged on, if not on these clouds: by their hash, else by what its figures state."""
    if draft.evaluation is not None:
        return "" if draft.evaluation.sha256 == evaluation.sha256 else _named(draft.evaluation)
    labelled = int((evaluation.labels >= 0).sum())
    for one, count in ((draft.fidelity, len(evaluation.groups)), (draft.accuracy, labelled)):
        if one is not None and (one.data, one.samples) != (evaluation.name, count):
            return f"{one.samples} clouds of {one.data}"
    return ""


def _named(clouds: EvaluationSet) -> str:
    return f"{clouds.samples} clouds of {clouds.data}, SHA-256 {clouds.sha256[:12]}..."
