"""The INT8 rungs of one budget; ``auto`` takes blocks out of INT8 until the gates are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import onnx

from foundry_edge_calibration.calibrate import Ranges, calibrate
from foundry_edge_calibration.engine import Array, run_all
from foundry_edge_calibration.placement import AUTO, WIDEST, Site, block_of, choose_sites, linear_sites
from foundry_edge_calibration.qdq import insert_qdq
from foundry_edge_calibration.sensitivity import BlockLoss, sensitivity
from foundry_edge_export.compact import store_in_half
from foundry_edge_export.draft import Draft
from foundry_edge_export.fp16 import to_fp16
from foundry_edge_export.gates import int8_gates
from foundry_edge_export.parity import relative_parity
from foundry_edge_export.precisions import HALF
from foundry_edge_export.rounding import with_rounding
from foundry_edge_export.size import Size
from foundry_edge_export.workshop import Workshop
from foundry_edge_runtime.bundle.manifest import Calibration

SENSITIVITY_CLOUDS = 64


class Quantiser:
    """Makes the INT8 rungs of one size.

    Args:
        workshop: settings, clouds and gates of the export.
        size: SuperTokens and bypassed tokens.
        model: the FP32 graph, weights inside.
        reference: its outputs on the evaluation clouds.
    """

    def __init__(
        self, workshop: Workshop, size: Size, model: onnx.ModelProto, reference: dict[str, Array]
    ) -> None:
        self._workshop, self._size, self._model, self._reference = workshop, size, model, reference
        settings = workshop.settings
        self._sites = choose_sites(model, settings.quantize, settings.keep_float)

    def build(self, precisions: Sequence[str]) -> Iterator[Draft]:
        """One rung per precision, of ``int8`` and ``int8-fp16``."""
        if self._workshop.settings.sensitivity:
            self._workshop.losses[self._size.name] = self._losses
        for precision in precisions:
            yield self._rung(precision)

    def _rung(self, precision: str) -> Draft:
        """All sites in INT8; if a gate fails under ``auto``, without the block that loses most, and so on."""
        draft, taken = self._judge(precision, ()), list[str]()
        if self._workshop.settings.quantize != AUTO:
            return draft
        while not draft.passed and len(taken) < len(self._losses) - 1:
            taken.append(self._losses[len(taken)].block)
            draft = self._judge(precision, taken)
        if taken:
            self._workshop.losses[self._size.name] = self._losses
            self._workshop.progress.note(f"{draft.name}: auto left {', '.join(taken)} in float")
        return draft

    @cached_property
    def _ranges(self) -> Ranges:
        """Thresholds of every linear map, so that they serve every policy."""
        workshop, clouds = self._workshop, self._workshop.calibration
        workshop.progress.step(f"{self._size.name}: calibrating on {len(clouds)} clouds")
        tensors = tuple(dict.fromkeys(site.activation for site in linear_sites(self._model)))
        method = workshop.settings.calibration_method
        return calibrate(self._model, tensors, clouds, method, self._size.name, workshop.progress.note)

    @cached_property
    def _losses(self) -> list[BlockLoss]:
        """What each block alone loses, on calibration clouds, worst first."""
        self._workshop.progress.step(f"{self._size.name}: measuring each block alone in INT8")
        clouds = self._workshop.calibration
        groups, centers = clouds.groups[:SENSITIVITY_CLOUDS], clouds.centers[:SENSITIVITY_CLOUDS]
        tokens = run_all(self._model, groups, centers)["tokens"]
        return sensitivity(self._model, self._sites, self._ranges.thresholds, groups, centers, tokens)

    def _judge(self, precision: str, taken: Sequence[str]) -> Draft:
        sites = [site for site in self._sites if block_of(site.module) not in taken]
        without = f" without {', '.join(taken)}" if taken else ""
        model = self._graph(precision, sites)
        self._workshop.progress.step(f"{self._size.rung(precision)}: measuring{without}")
        evaluation = self._workshop.evaluation
        computed = with_rounding(model) if precision in HALF else model
        found = run_all(computed, evaluation.groups, evaluation.centers)
        parity = relative_parity(found["tokens"], self._reference["tokens"])
        accuracy = evaluation.accuracy(found.get("logits"))
        gates = int8_gates(parity, accuracy, evaluation.accuracy(self._reference.get("logits")))
        calibration = self._calibration(taken)
        return self._workshop.draft(
            self._size, precision, model, parity, gates, found, self._reference, calibration
        )

    def _graph(self, precision: str, sites: Sequence[Site]) -> onnx.ModelProto:
        half = precision in HALF
        quantised = insert_qdq(self._model, sites, self._ranges.thresholds, half_scales=half)
        return store_in_half(to_fp16(quantised) if half else quantised)

    def _calibration(self, taken: Sequence[str]) -> Calibration:
        settings, clouds = self._workshop.settings, self._workshop.calibration
        coverage = self._ranges.coverage
        return Calibration(
            method=settings.calibration_method,
            samples=len(clouds),
            data=clouds.name,
            data_sha256=clouds.sha256,
            policy=WIDEST if settings.quantize == AUTO else settings.quantize,
            kept=tuple(sorted({*settings.keep_float, *taken})),
            seed=settings.seed,
            tensors=coverage.tensors,
            growing=coverage.growing,
        )
