"""What an export is asked for, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foundry_edge.models.config import StudentConfig
from foundry_edge_calibration.clouds import DEFAULT_SAMPLES
from foundry_edge_calibration.methods import DEFAULT_METHOD, METHODS
from foundry_edge_calibration.placement import DEFAULT_POLICY, check_policy
from foundry_edge_export.precisions import PRECISIONS, QUANTISED
from foundry_edge_export.size import Size
from foundry_edge_runtime.backends.trt.library import import_library
from foundry_edge_runtime.errors import InputError

BACKENDS = ("onnx", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class ExportSettings:
    """Options of one export; see `foundry_edge_export.exporter.export` for their meaning."""

    tokens: tuple[int, ...]
    bypass: tuple[int, ...]
    precision: tuple[str, ...]
    backend: str
    calibration_data: str | Path | None
    calibration_method: str
    samples: int
    quantize: str
    keep_float: tuple[str, ...]
    evaluation_data: str | Path | None
    teacher: str | Path | None
    sensitivity: bool
    force: bool
    scene: bool
    parts_data: str | Path | None
    seed: int

    def check(self) -> None:
        """Refuse unknown names, and options of INT8 where nothing becomes INT8.

        Raises:
            InputError: names the option and its choices.
            BackendError: the compiler that is to build plans afterwards is not installed.
        """
        if not self.tokens or not self.bypass or not self.precision:
            raise InputError(
                "nothing to export",
                where="--tokens, --bypass, --precision",
                remedy="give at least one of each",
            )
        for name in self.precision:
            _one_of(name, PRECISIONS, "--precision")
        _one_of(self.calibration_method, tuple(METHODS), "--calibration-method")
        check_policy(self.quantize)
        _one_of(self.backend, BACKENDS, "--backend")
        if self.backend != "onnx":
            import_library(self.backend)
        if self.samples < 1:
            raise InputError(f"expected at least 1, found {self.samples}", where="--samples")
        if not set(self.precision) & set(QUANTISED):
            self._check_unquantised()

    def _check_unquantised(self) -> None:
        given = {
            "--calibration-data": self.calibration_data is not None,
            "--calibration-method": self.calibration_method != DEFAULT_METHOD,
            "--samples": self.samples != DEFAULT_SAMPLES,
            "--quantize": self.quantize != DEFAULT_POLICY,
            "--keep-float": bool(self.keep_float),
            "--sensitivity": self.sensitivity,
        }
        for option in (name for name, is_given in given.items() if is_given):
            raise InputError(
                f"means nothing to --precision {','.join(self.precision)}",
                where=option,
                remedy=f"leave it out, or add {' or '.join(QUANTISED)}",
            )

    def check_tokens(self, config: StudentConfig) -> None:
        """Refuse budgets that the student was not made for.

        Raises:
            InputError: names the budgets there are.
        """
        for count in self.tokens:
            if count not in config.tokens:
                known = ",".join(map(str, config.tokens))
                raise InputError(
                    f"the student has no budget of {count} SuperTokens",
                    where="--tokens",
                    remedy=f"it has {known}",
                )

    def check_bypass(self, config: StudentConfig) -> None:
        """Refuse numbers of bypassed tokens that the student cannot have.

        Raises:
            InputError: it has no gate, or not so many tokens.
        """
        most = config.teacher.preprocessing.groups
        for count in self.bypass:
            if count and not config.gate:
                raise InputError(
                    f"the student has no gate, so no token can bypass, asked for {count}",
                    where="--bypass",
                    remedy="leave it out, or distil with --gate",
                )
            if not 0 <= count <= most:
                raise InputError(f"expected 0 to {most} tokens, found {count}", where="--bypass")

    def check_parts(self, head: bool) -> None:
        """Refuse data for a head that is not there.

        Raises:
            InputError: says how to train one.
        """
        if self.parts_data is not None and not head:
            raise InputError(
                "the student has no head for parts",
                where="--parts-data",
                remedy="train one with `foundry-edge finetune --task parts --frozen`, or leave it out",
            )

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Every budget with every number of bypassed tokens, smallest first."""
        return tuple(Size(tokens, bypassed) for tokens in self.tokens for bypassed in self.bypass)


def _one_of(value: str, choices: tuple[str, ...], option: str) -> None:
    if value not in choices:
        raise InputError(f"unknown value {value!r}", where=option, remedy=f"use one of {', '.join(choices)}")
