"""The protocol `fidelity`: a rung's tokens against its teacher's."""

from __future__ import annotations

from pathlib import Path

from foundry_edge.data.shape_set import TEST
from foundry_edge.evaluation.rungs import EvaluatedRung, feature_digest, torch_rung
from foundry_edge.evaluation.subject import Judged
from foundry_edge.load import EMBEDDED, load_model, teacher_digest
from foundry_edge.measures.cka import linear_cka
from foundry_edge.measures.fidelity import fidelity
from foundry_edge.measures.metrics import Metrics
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import CheckpointError, DataError

DEFAULT_TEACHER = f"{EMBEDDED}teacher"


def fidelity_to_teacher(
    rungs: list[EvaluatedRung], judged: Judged, teacher: str | Path | None
) -> tuple[list[Metrics], int]:
    """Cosine (mean and worst cloud), Smooth L1 and CKA of the tokens on the test side, and its size.

    Args:
        rungs: of one model.
        judged: the data.
        teacher: folder or ``embedded:teacher``; None takes the embedded one if the rungs are its own.

    Raises:
        DataError: there is no test side.
        CheckpointError: the teacher is not at hand, is not the model's, or the model has none.
    """
    test = judged.shapes.split == TEST
    if not test.any():
        raise DataError("has no test side", where=judged.shapes.name, remedy="mark some shapes with split 1")
    reference = _teacher(rungs[0], teacher)
    expected = judged.tokens(reference, test)
    metrics = []
    for rung in rungs:
        tokens = judged.tokens(rung, test)
        found = fidelity(tokens, expected)
        metrics.append(
            {
                "cosine_mean": found.cosine_mean,
                "cosine_worst": found.cosine_worst,
                "smooth_l1": found.smooth_l1,
                "cka": linear_cka(tokens.flatten(0, 1), expected.flatten(0, 1)),
            }
        )
    return metrics, len(expected)


def _teacher(rung: EvaluatedRung, named: str | Path | None) -> EvaluatedRung:
    _require_taught(rung, named)
    name = named or DEFAULT_TEACHER
    own = _is_own(rung, name)
    if named is None and not own:
        raise CheckpointError("the model's teacher is not the embedded one", remedy="name it with --teacher")
    model = load_model(name)
    if not isinstance(model.module, Teacher):
        raise CheckpointError("is no teacher", where=str(name), remedy="give --teacher the model's teacher")
    if (model.width, model.preprocessing) != (rung.width, rung.preprocessing):
        theirs, ours = (f"d={m.width}, {m.preprocessing}" for m in (model, rung))
        raise CheckpointError(
            f"the teacher has {theirs}, the model {ours}", where=str(name), remedy="name its own teacher"
        )
    if not own:
        own_sha256 = f"sha256 {rung.teacher_sha256[:16]}..."
        raise CheckpointError(
            "is not the teacher that the model was distilled from",
            where=str(name),
            remedy=f"give that one ({own_sha256}); if it was a published file, the file",
        )
    return torch_rung(model, None, feature_digest(name))


def _is_own(rung: EvaluatedRung, name: str | Path) -> bool:
    """Whether the model was distilled from it; of a published file that cannot be told."""
    return not rung.teacher_sha256 or Path(name).is_file() or teacher_digest(name) == rung.teacher_sha256


def _require_taught(rung: EvaluatedRung, named: str | Path | None) -> None:
    """A student knows its teacher, unless that was known by files of features; a teacher has none."""
    if rung.teacher_sha256:
        return
    if rung.model is None or not isinstance(rung.model.module, Teacher):
        raise CheckpointError(
            "does not know its teacher: it was taught by files of features",
            where="--protocol fidelity",
            remedy="see the report.json that distill wrote beside it, or take another protocol",
        )
    if named is None:
        raise CheckpointError(
            "a teacher has no teacher", remedy="name one to compare it with --teacher, or take a student"
        )
