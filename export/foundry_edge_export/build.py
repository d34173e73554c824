"""One budget at a time: trace, check parity, quantise, measure, judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from foundry_edge.models.macs import student_macs
from foundry_edge.models.student import Student
from foundry_edge_calibration.clouds import Clouds, calibration_clouds
from foundry_edge_calibration.engine import Array, run_all
from foundry_edge_calibration.placement import Site, choose_sites, policies_to_try
from foundry_edge_calibration.qdq import insert_qdq
from foundry_edge_calibration.ranges import Observation, observe
from foundry_edge_calibration.sensitivity import BlockLoss, sensitivity
from foundry_edge_export.compact import store_in_half
from foundry_edge_export.draft import Draft
from foundry_edge_export.evaluation import Evaluation
from foundry_edge_export.fp16 import to_fp16
from foundry_edge_export.gates import fp16_gates, fp32_gates, int8_gates
from foundry_edge_export.graph import trace
from foundry_edge_export.lint import lint
from foundry_edge_export.parity import ParityClouds, parity_clouds, relative_parity, torch_parity
from foundry_edge_export.progress import Progress
from foundry_edge_export.settings import ExportSettings
from foundry_edge_runtime.bundle.manifest import Calibration, Parity


@dataclass
class Workshop:
    """What all rungs of one export are made and measured with.

    Attributes:
        student: in eval mode.
        student_sha256: of its weights file.
        settings: what was asked for.
        evaluation: held-out clouds.
        versions: of the libraries that write and run the graphs.
        progress: told of every step.
        losses: rung name -> what each block alone loses in INT8, filled when asked for.
    """

    student: Student
    student_sha256: str
    settings: ExportSettings
    evaluation: Evaluation
    versions: dict[str, str]
    progress: Progress
    losses: dict[str, list[BlockLoss]] = field(default_factory=dict)

    @cached_property
    def calibration(self) -> Clouds:
        """Calibration clouds, drawn once."""
        settings = self.settings
        spec = self.student.config.teacher.preprocessing
        clouds = calibration_clouds(settings.calibration_data, spec, settings.samples, settings.seed)
        for warning in clouds.warnings:
            self.progress.note(warning)
        return clouds

    @cached_property
    def parity_clouds(self) -> ParityClouds:
        """Clouds for the comparison with torch."""
        return parity_clouds(self.student.config.teacher.preprocessing)

    def key(self, count: int, precision: str) -> str:
        """Hash of everything that a rung depends on."""
        parts = {
            "student": self.student_sha256,
            "tokens": count,
            "precision": precision,
            "evaluation": self.evaluation.sha256,
            "teacher": self.evaluation.teacher is not None,
            "versions": self.versions,
        }
        if precision == "int8":
            settings = self.settings
            parts |= {
                "data": self.calibration.sha256,
                "method": settings.calibration_method,
                "quantize": settings.quantize,
                "keep": sorted(settings.keep_float),
            }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def build(self, count: int, precisions: tuple[str, ...]) -> Iterator[Draft]:
        """The rungs of one budget. FP32 is always built and checked; the others are measured against it."""
        self.progress.step(f"s{count}: tracing")
        plain = trace(self.student, count)
        model = store_in_half(plain)
        lint(model, f"s{count}-fp32")
        self.progress.step(f"s{count}: comparing with torch")
        parity = torch_parity(self.student, model, count, self.parity_clouds)
        reference = run_all(model, self.evaluation.groups, self.evaluation.centers)
        fp32 = self._draft(count, "fp32", model, parity, fp32_gates(parity), reference)
        if "fp32" in precisions or not fp32.passed:
            yield fp32
        if "fp16" in precisions and fp32.passed:
            yield self._fp16(count, plain, reference)
        if "int8" in precisions and fp32.passed:
            yield self._int8(count, plain, reference)

    def notes(self) -> tuple[str, ...]:
        """Warnings about the calibration data, if they were drawn."""
        clouds = self.__dict__.get("calibration")
        return clouds.warnings if clouds is not None else ()

    def _fp16(self, count: int, model: onnx.ModelProto, reference: dict[str, Array]) -> Draft:
        self.progress.step(f"s{count}: measuring FP16")
        half = store_in_half(to_fp16(model))
        lint(half, f"s{count}-fp16")
        found = run_all(half, self.evaluation.groups, self.evaluation.centers, literal=True)
        parity = relative_parity(found["tokens"], reference["tokens"])
        return self._draft(count, "fp16", half, parity, fp16_gates(parity), found)

    def _int8(self, count: int, model: onnx.ModelProto, reference: dict[str, Array]) -> Draft:
        """The INT8 rung of the widest policy that passes the gates; of the last one, if none does."""
        settings = self.settings
        choices = {
            policy: choose_sites(model, policy, settings.keep_float)
            for policy in policies_to_try(settings.quantize)
        }
        observation = self._observe(count, model, [site for sites in choices.values() for site in sites])
        ranges = observation.ranges(settings.calibration_method)
        if settings.sensitivity:
            self._measure_blocks(count, model, next(iter(choices.values())), ranges, reference["tokens"])
        for policy, sites in choices.items():
            self.progress.step(f"s{count}: measuring INT8 ({policy})")
            quantised = store_in_half(insert_qdq(model, sites, ranges))
            draft = self._judge_int8(count, quantised, reference, self._calibration(policy, observation))
            if draft.passed:
                break
        return draft

    def _measure_blocks(
        self, count: int, model: onnx.ModelProto, sites: list[Site], ranges: dict[str, float], tokens: Array
    ) -> None:
        self.progress.step(f"s{count}: measuring each block alone")
        clouds = self.evaluation
        self.losses[f"s{count}-int8"] = sensitivity(
            model, sites, ranges, clouds.groups, clouds.centers, tokens
        )

    def _observe(self, count: int, model: onnx.ModelProto, sites: list[Site]) -> Observation:
        clouds = self.calibration
        self.progress.step(f"s{count}: calibrating on {len(clouds)} clouds")
        tensors = list(dict.fromkeys(site.activation for site in sites))
        return observe(model, tensors, clouds.groups, clouds.centers)

    def _calibration(self, policy: str, observation: Observation) -> Calibration:
        settings, clouds, coverage = self.settings, self.calibration, observation.coverage
        return Calibration(
            method=settings.calibration_method,
            samples=len(clouds),
            data=clouds.name,
            data_sha256=clouds.sha256,
            policy=policy,
            kept=tuple(sorted(settings.keep_float)),
            seed=settings.seed,
            tensors=coverage.tensors,
            growing=coverage.growing,
        )

    def _judge_int8(
        self, count: int, model: onnx.ModelProto, reference: dict[str, Array], calibration: Calibration
    ) -> Draft:
        lint(model, f"s{count}-int8")
        found = run_all(model, self.evaluation.groups, self.evaluation.centers)
        parity = relative_parity(found["tokens"], reference["tokens"])
        accuracy = self.evaluation.accuracy(found.get("logits"))
        gates = int8_gates(parity, accuracy, self.evaluation.accuracy(reference.get("logits")))
        return self._draft(count, "int8", model, parity, gates, found, calibration)

    def _draft(
        self,
        count: int,
        precision: str,
        model: onnx.ModelProto,
        parity: Parity,
        gates: dict[str, bool],
        outputs: dict[str, Array],
        calibration: Calibration | None = None,
    ) -> Draft:
        return Draft(
            tokens=count,
            precision=precision,
            model=model,
            key=self.key(count, precision),
            macs=student_macs(self.student.config, count),
            parity=parity,
            fidelity=self.evaluation.fidelity(outputs["tokens"]),
            accuracy=self.evaluation.accuracy(outputs.get("logits")),
            calibration=calibration,
            gates=gates,
        )
