"""What a graph says about itself, in its metadata_props."""

from __future__ import annotations

from importlib.metadata import version

import onnx

from foundry_edge_export.size import Size
from foundry_edge_runtime.grouping import Preprocessing

PREFIX = "foundry_edge."


def stamped(
    model: onnx.ModelProto, student_sha256: str, size: Size, precision: str, spec: Preprocessing
) -> onnx.ModelProto:
    """A copy that names the student, what it computes with, how points become its inputs, and who wrote it.

    Args:
        model: any graph of a rung.
        student_sha256: of the student's weights file.
        size: SuperTokens and bypassed tokens.
        precision: of the rung.
        spec: preprocessing, written as JSON.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    values = {
        "bypassed": str(size.bypassed),
        "precision": precision,
        "preprocessing": spec.model_dump_json(),
        "student_sha256": student_sha256,
        "tokens": str(size.tokens),
        "version": version("foundry-edge"),
    }
    del copy.metadata_props[:]
    for name, value in values.items():
        copy.metadata_props.add(key=PREFIX + name, value=value)
    return copy
