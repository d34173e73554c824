"""A tiny real bundle: ONNX graphs that ONNX Runtime executes, weights outside the graphs, one head."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

GROUPS, SIZE, WIDTH = 4, 8, 6
LABELS = ("chair", "table", "lamp", "sofa", "bed", "desk")
TOKENS = (1, 4)
_DTYPES = {np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.int8): TensorProto.INT8}


def weights(precision: str) -> dict[str, np.ndarray[Any, Any]]:
    """Embedding (3, d), position (3, d) and head (2d, labels), as they are stored."""
    rng = np.random.default_rng(7)
    shapes = {"embed": (3, WIDTH), "position": (3, WIDTH), "head": (2 * WIDTH, len(LABELS))}
    values = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    if precision == "int8":
        return {name: np.clip(np.round(v * 32), -127, 127).astype(np.int8) for name, v in values.items()}
    return {name: v.astype(np.float16) for name, v in values.items()}


def expected(groups: np.ndarray[Any, Any], centers: np.ndarray[Any, Any], precision: str, tokens: int) -> Any:
    """What the graph computes, in float64: tokens, global, logits."""
    stored = {name: v.astype(np.float64) for name, v in weights(precision).items()}
    w = {name: v / 32 if precision == "int8" else v for name, v in stored.items()}
    found = (groups.astype(np.float64).max(axis=2) @ w["embed"] + centers @ w["position"]) * tokens
    pooled = np.concatenate([found.mean(axis=1), found.max(axis=1)], axis=-1)
    return found, pooled, pooled @ w["head"]


def build_graph(precision: str, tokens: int, location: str, head: bool = True) -> bytes:
    """The serialised model of one rung; its weights lie in ``location``."""
    initializers, nodes, offset = [], [], 0
    for name, value in weights(precision).items():
        initializers.append(_external(name, value, location, offset))
        offset += value.nbytes
        if precision == "int8":
            nodes.append(helper.make_node("DequantizeLinear", [name, "scale"], [f"{name}_f"]))
        else:
            nodes.append(helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT))
    initializers += [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 32]),
        helper.make_tensor("tokens_used", TensorProto.FLOAT, [], [float(tokens)]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [2]),
    ]
    graph = helper.make_graph(
        nodes + _body(head),
        f"tiny-{precision}-{tokens}",
        [_value("groups", "B", GROUPS, SIZE, 3), _value("centers", "B", GROUPS, 3)],
        [_value("tokens", "B", GROUPS, WIDTH), _value("global", "B", 2 * WIDTH)]
        + ([_value("logits", "B", len(LABELS))] if head else []),
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def write_bundle(folder: Path, *, accuracy: bool = True, head: bool = True, **changes: Any) -> Path:
    """Write the bundle; ``changes`` go into the manifest."""
    folder.mkdir(parents=True)
    rungs = []
    for precision in ("fp32", "int8"):
        packed = b"".join(value.tobytes() for value in weights(precision).values())
        (folder / f"{precision}.bin").write_bytes(packed)
        for tokens in TOKENS:
            name = f"s{tokens}-{precision}"
            (folder / f"{name}.onnx").write_bytes(build_graph(precision, tokens, f"{precision}.bin", head))
            rungs.append(_rung(folder, tokens, precision, accuracy))
    manifest = {
        "schema_version": 1,
        "id": "tiny-1",
        "created": "2026-01-01T00:00:00Z",
        "student_sha256": "0" * 64,
        "teacher_sha256": "1" * 64,
        "width": WIDTH,
        "preprocessing": {"points": 64, "groups": GROUPS, "group_size": SIZE},
        "labels": LABELS if head else (),
        "rungs": rungs,
        **changes,
    }
    write_manifest(folder, manifest)
    return folder


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def file_ref(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _rung(folder: Path, tokens: int, precision: str, accuracy: bool) -> dict[str, Any]:
    value = 80 + tokens + (precision == "fp32")
    calibration = {"method": "minmax", "samples": 64, "data": "furniture", "data_sha256": "2" * 64}
    return {
        "tokens": tokens,
        "precision": precision,
        "graph": file_ref(folder / f"s{tokens}-{precision}.onnx"),
        "weights": file_ref(folder / f"{precision}.bin"),
        "macs": {"tokenizer": 1000, "encoder": 1000 * tokens},
        "parity": {"reference": "torch", "max_abs": 1e-6, "cosine_mean": 1, "cosine_worst": 1, "samples": 8},
        "fidelity": {
            "cosine_mean": 0.9 + tokens / 100,
            "cosine_worst": 0.8,
            "smooth_l1": 0.01,
            "samples": 8,
            "data": "furniture",
        },
        "accuracy": {"value": value, "samples": 100, "data": "furniture"} if accuracy else None,
        "calibration": calibration if precision == "int8" else None,
    }


def _external(name: str, value: np.ndarray[Any, Any], location: str, offset: int) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=_DTYPES[value.dtype], dims=value.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, "offset": str(offset), "length": str(value.nbytes)}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return tensor


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _body(head: bool) -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("ReduceMax", ["groups", "axis"], ["reach"], keepdims=0),
        helper.make_node("MatMul", ["reach", "embed_f"], ["embedded"]),
        helper.make_node("MatMul", ["centers", "position_f"], ["placed"]),
        helper.make_node("Add", ["embedded", "placed"], ["sum"]),
        helper.make_node("Mul", ["sum", "tokens_used"], ["tokens"]),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("ReduceMean", ["tokens", "one"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", ["tokens", "one"], ["max"], keepdims=0),
        helper.make_node("Concat", ["mean", "max"], ["global"], axis=-1),
    ]
    return nodes + ([helper.make_node("MatMul", ["global", "head_f"], ["logits"])] if head else [])
