"""What all rungs of one export share: clouds, keys, and how a finished graph is measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from foundry_edge.models.macs import student_macs
from foundry_edge.models.student import Student
from foundry_edge_calibration.clouds import Clouds, calibration_clouds, leave_out
from foundry_edge_calibration.engine import Array
from foundry_edge_calibration.sensitivity import BlockLoss
from foundry_edge_export.draft import Draft
from foundry_edge_export.evaluation import Evaluation
from foundry_edge_export.lint import lint
from foundry_edge_export.parity import ParityClouds, parity_clouds
from foundry_edge_export.precisions import QUANTISED
from foundry_edge_export.progress import Progress
from foundry_edge_export.settings import ExportSettings
from foundry_edge_export.size import Size
from foundry_edge_export.spread import spread
from foundry_edge_export.stamp import stamped
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
        losses: budget (``s4``) -> what each block alone loses in INT8, if asked for or needed by auto.
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
        """Calibration clouds, drawn once; none of them is an evaluation cloud."""
        settings = self.settings
        spec = self.student.config.teacher.preprocessing
        drawn = calibration_clouds(settings.calibration_data, spec, settings.samples, settings.seed)
        clouds = leave_out(drawn, self.evaluation.groups, self.evaluation.centers)
        for warning in clouds.warnings:
            self.progress.note(warning)
        return clouds

    @cached_property
    def parity_clouds(self) -> ParityClouds:
        """Clouds for the comparison with torch."""
        return parity_clouds(self.student.config.teacher.preprocessing)

    def key(self, size: Size, precision: str) -> str:
        """Hash of everything that a rung depends on."""
        parts = {
            "student": self.student_sha256,
            "tokens": size.tokens,
            "bypassed": size.bypassed,
            "precision": precision,
            "evaluation": self.evaluation.sha256,
            "teacher": self.evaluation.teacher is not None,
            "versions": self.versions,
        }
        if precision in QUANTISED:
            settings = self.settings
            parts |= {
                "data": self.calibration.sha256,
                "method": settings.calibration_method,
                "quantize": settings.quantize,
                "keep": sorted(settings.keep_float),
            }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def notes(self) -> tuple[str, ...]:
        """Warnings about the calibration data, if they were drawn."""
        clouds = self.__dict__.get("calibration")
        return clouds.warnings if clouds is not None else ()

    def draft(
        self,
        size: Size,
        precision: str,
        model: onnx.ModelProto,
        parity: Parity,
        gates: dict[str, bool],
        outputs: dict[str, Array],
        reference: dict[str, Array] | None = None,
        calibration: Calibration | None = None,
    ) -> Draft:
        """A rung with everything measured on it, its graph linted and stamped.

        Args:
            size: SuperTokens and bypassed tokens.
            precision: of the rung.
            model: its graph.
            parity: with torch, or with FP32.
            gates: passed or not.
            outputs: on the evaluation clouds.
            reference: what FP32 gives there; None for FP32 itself.
            calibration: of an INT8 rung.

        Raises:
            BackendError: the graph breaks a rule of `lint`.
        """
        lint(model, size.rung(precision))
        config = self.student.config
        against = {"fp32": reference["tokens"] if reference else None, "teacher": self.evaluation.teacher}
        return Draft(
            size=size,
            precision=precision,
            model=stamped(model, self.student_sha256, size, precision, config.teacher.preprocessing),
            key=self.key(size, precision),
            macs=student_macs(config, size.tokens, size.bypassed),
            parity=parity,
            fidelity=self.evaluation.fidelity(outputs["tokens"]),
            accuracy=self.evaluation.accuracy(outputs.get("logits")),
            calibration=calibration,
            evaluation=self.evaluation.stated,
            gates=gates,
            spreads={
                name: spread(outputs["tokens"], tokens)
                for name, tokens in against.items()
                if tokens is not None
            },
        )
