"""One budget at a time: trace, check parity, quantise, measure, judge."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from foundry_edge_calibration.engine import Array, run_all
from foundry_edge_export.compact import store_in_half
from foundry_edge_export.draft import Draft
from foundry_edge_export.fp16 import to_fp16
from foundry_edge_export.gates import fp16_gates, fp32_gates
from foundry_edge_export.graph import trace
from foundry_edge_export.parity import relative_parity, torch_parity
from foundry_edge_export.precisions import QUANTISED
from foundry_edge_export.quantised import Quantiser
from foundry_edge_export.rounding import with_rounding
from foundry_edge_export.size import Size
from foundry_edge_export.workshop import Workshop


def build(workshop: Workshop, size: Size, precisions: tuple[str, ...]) -> Iterator[Draft]:
    """The rungs of one size. FP32 is always built and checked; the others are measured against it."""
    student, evaluation, progress = workshop.student, workshop.evaluation, workshop.progress
    progress.step(f"{size.name}: tracing")
    plain = trace(student, size.tokens, size.bypassed)
    model = store_in_half(plain)
    progress.step(f"{size.name}: comparing with torch")
    parity = torch_parity(student, model, size.tokens, workshop.parity_clouds, size.bypassed)
    reference = run_all(model, evaluation.groups, evaluation.centers)
    fp32 = workshop.draft(size, "fp32", model, parity, fp32_gates(parity), reference)
    if "fp32" in precisions or not fp32.passed:
        yield fp32
    if "fp16" in precisions and fp32.passed:
        yield _fp16(workshop, size, plain, reference)
    quantised = [name for name in QUANTISED if name in precisions]
    if quantised and fp32.passed:
        yield from Quantiser(workshop, size, plain, reference).build(quantised)


def _fp16(workshop: Workshop, size: Size, model: onnx.ModelProto, reference: dict[str, Array]) -> Draft:
    workshop.progress.step(f"{size.rung('fp16')}: measuring")
    half = store_in_half(to_fp16(model))
    found = run_all(with_rounding(half), workshop.evaluation.groups, workshop.evaluation.centers)
    parity = relative_parity(found["tokens"], reference["tokens"])
    return workshop.draft(size, "fp16", half, parity, fp16_gates(parity), found, reference)
