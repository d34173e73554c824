"""`evaluate`: any model, any data set, every protocol of the paper."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

from foundry_edge.data.one_set import one_set
from foundry_edge.data.shapes import ShapeSet
from foundry_edge.evaluation.fewshot import few_shot
from foundry_edge.evaluation.linear import linear_probe, linear_svm
from foundry_edge.evaluation.parts import part_segmentation
from foundry_edge.evaluation.rungs import EvaluatedRung, open_rungs
from foundry_edge.evaluation.subject import Judged, Side
from foundry_edge.evaluation.summary import EvaluationReport, RungResult
from foundry_edge.evaluation.to_teacher import fidelity_to_teacher
from foundry_edge.evaluation.tuned import fine_tuning
from foundry_edge.measures.features import Advance, silent
from foundry_edge.measures.metrics import Metrics
from foundry_edge_runtime.errors import InputError

Protocol = Literal["probe", "svm", "fewshot", "finetune", "parts", "fidelity"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
USED_BY = {"--teacher": ("fidelity",), "--epochs": ("finetune", "parts")}
"""Options that only some protocols read."""
FROZEN: dict[str, Callable[[Side, Side, tuple[int, ...]], Metrics]] = {
    "probe": linear_probe,
    "svm": linear_svm,
    "fewshot": few_shot,
}


def evaluate(
    model: str | Path,
    data: str | Path | ShapeSet | None = None,
    protocol: str = "probe",
    *,
    tokens: tuple[int, ...] | None = None,
    precision: str | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    teacher: str | Path | None = None,
    epochs: float | None = None,
    backend: str = "onnxruntime",
    progress: Advance = silent,
) -> EvaluationReport:
    """Judge a model by one protocol; every choice is made on the training side, figures are of the test side.

    Args:
        model: folder of a teacher, student, baseline or bundle; a published .ckpt or .pth file;
            ``embedded:teacher``, ``embedded:student`` or ``embedded:bundle``.
        data: anything that `load_sets` opens as one set, or a set; None takes the embedded samples.
        protocol: probe, svm, fewshot (frozen global features, accuracy in percent), finetune (accuracy after
            training all weights), parts (mIoU in percent), fidelity (to the teacher).
        tokens: budgets; None takes all.
        precision: of a bundle's rungs; None takes all.
        seeds: figures are means over them.
        teacher: for fidelity; None takes the embedded one if it is the model's.
        epochs: of the training in ``finetune`` and ``parts``; None takes their defaults.
        backend: that runs a bundle's engines.
        progress: told how far it is.

    Raises:
        InputError: no such protocol, budget or precision, an option that the protocol has no use for, or the
            rung cannot be trained.
        DataError: the data lack what the protocol needs.
        CheckpointError: the model is missing or damaged.
        BundleError: the bundle is damaged.
        BackendError: the backend is not there.
    """
    if protocol not in PROTOCOLS:
        raise InputError(
            f"unknown protocol {protocol!r}", where="--protocol", remedy=f"use {', '.join(PROTOCOLS)}"
        )
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(
            "expected distinct whole numbers from 0", where="--seeds", remedy="for example 0,1,2"
        )
    _refuse_idle(protocol, {"--teacher": teacher, "--epochs": epochs})
    rungs = open_rungs(model, tokens, precision, backend)
    judged = Judged(one_set(data), progress)
    with ExitStack() as engines:
        for rung in rungs:
            engines.callback(rung.close)
        metrics, samples = _measure(str(model), rungs, judged, protocol, seeds, teacher, epochs)
    return EvaluationReport(
        model=str(model),
        data=judged.shapes.name,
        protocol=protocol,
        rungs=tuple(
            RungResult(r.name, r.tokens, r.precision, m) for r, m in zip(rungs, metrics, strict=True)
        ),
        seeds=seeds,
        samples=samples,
    )


def _refuse_idle(protocol: str, given: dict[str, object]) -> None:
    """No option is given that the protocol has no use for."""
    for option, value in given.items():
        if value is not None and protocol not in USED_BY[option]:
            users = " and ".join(USED_BY[option])
            raise InputError(
                f"means nothing to {protocol} (it is of {users})", where=option, remedy="leave it out"
            )


def _measure(
    model: str,
    rungs: list[EvaluatedRung],
    judged: Judged,
    protocol: str,
    seeds: tuple[int, ...],
    teacher: str | Path | None,
    epochs: float | None,
) -> tuple[list[Metrics], int]:
    if protocol == "fidelity":
        return fidelity_to_teacher(rungs, judged, teacher)
    if protocol == "finetune":
        return fine_tuning(model, rungs, judged, seeds, epochs)
    if protocol == "parts":
        found = [part_segmentation(rung, judged, seeds, epochs) for rung in rungs]
        return [metrics for metrics, _ in found], found[0][1]
    sides = [judged.sides(rung) for rung in rungs]
    judge = FROZEN[protocol]
    return [judge(train, test, seeds) for train, test in sides], len(sides[0][1])
