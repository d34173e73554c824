"""Files that contenders are loaded from: graphs of whole and of cut teachers, bundles of random students."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.comparing.contenders import example
from benchmarks.comparing.published import as_published
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.methods import make_method
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge_calibration.clouds import DEFAULT_SAMPLES
from foundry_edge_export.exporter import export

INPUTS = ("groups", "centers")


def teacher_graphs(config: TeacherConfig, folder: Path) -> None:
    """Write the teacher, as published, as ``teacher-FP32.onnx`` and ``teacher-INT8.onnx``."""
    torch.manual_seed(0)
    _graphs(as_published(Teacher(config)), config, folder, "teacher")


def truncation_graphs(config: TeacherConfig, depths: tuple[int, ...], folder: Path) -> None:
    """Write first blocks with the light tokenizer, as ``truncation-<depth>-FP32.onnx`` and INT8."""
    for depth in depths:
        torch.manual_seed(0)
        cut = make_method("truncation", config, "", depth=depth, tokenizer="lite")
        _graphs(as_published(cut), config, folder, f"truncation-{depth}")


def _graphs(module: nn.Module, config: TeacherConfig, folder: Path, name: str) -> None:
    """Write a module as it is, in FP32 and quantised."""
    module.requires_grad_(False)
    inputs = tuple(torch.from_numpy(one) for one in example(config, 2))
    batch = {0: torch.export.Dim("batch", min=1)}
    with _quiet():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=20,
            input_names=list(INPUTS),
            output_names=["features"],
            dynamic_shapes=(batch, batch),
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        program.save(str(folder / f"{name}-FP32.onnx"))
        _quantise(config, folder / f"{name}-FP32.onnx", folder / f"{name}-INT8.onnx")


def _quantise(config: TeacherConfig, source: Path, target: Path) -> None:
    """Static INT8 of all linear maps, by ONNX Runtime's own tool."""
    tool = importlib.import_module("onnxruntime.quantization")
    tool.quantize_static(
        str(source),
        str(target),
        _reader(config, tool.CalibrationDataReader),
        quant_format=tool.QuantFormat.QDQ,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        activation_type=tool.QuantType.QInt8,
        weight_type=tool.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "MatMulConstBOnly": True},
    )


def _reader(config: TeacherConfig, base: Any) -> Any:
    batches = iter([dict(zip(INPUTS, example(config, 2), strict=True))])

    class Reader(base):  # type: ignore[misc]
        """Gives one random batch: ranges change no time."""

        def get_next(self) -> Any:
            """The next batch, or None."""
            return next(batches, None)

    return Reader()


def student_bundle(
    config: TeacherConfig,
    tokenizer: str,
    tokens: tuple[int, ...],
    precision: tuple[str, ...],
    folder: Path,
    samples: int = DEFAULT_SAMPLES,
) -> Path:
    """Export a student with random weights, gates or not; the folder of its bundle.

    Args:
        config: of its teacher.
        tokenizer: ``full`` or ``lite``.
        tokens: its budgets.
        precision: of its rungs.
        folder: to write to.
        samples: calibration clouds; random weights need few.
    """
    torch.manual_seed(0)
    student = make_method("dso", config, "", tokens=tokens, tokenizer=tokenizer)
    save_weights(folder / f"student-{tokenizer}", student.config, student)
    out = folder / f"bundle-{tokenizer}"
    export(
        folder / f"student-{tokenizer}",
        tokens=tokens,
        precision=precision,
        out=out,
        samples=samples,
        force=True,
    )
    return out


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    names = ("torch.onnx", "root", "onnxscript")
    levels = [logging.getLogger(name).level for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
