"""What scene graphs need and cost: workspace in bytes, multiply-accumulates, the size of the groups known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from foundry_edge.data.samples import load_samples
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.macs import student_macs
from foundry_edge_calibration.engine import open_session
from foundry_edge_runtime.grouping import Preprocessing, group_points
from foundry_edge_runtime.scenes.form import STAGES
from foundry_edge_runtime.scenes.frame import group_radii

_SHAPES = 128
_PER_SUPERTOKEN = ("encoder",)


def group_radius(spec: Preprocessing) -> float:
    """Median `group_radii` of objects in the unit ball: the size of a group that the tokenizer knows."""
    shapes = load_samples().xyz[:_SHAPES]
    return float(np.median(np.concatenate([group_radii(group_points(xyz, spec).groups) for xyz in shapes])))


def scene_macs(config: StudentConfig) -> dict[str, int]:
    """Multiply-accumulates per group and stage at the largest budget; of ``encoder`` for the whole scene."""
    stages = student_macs(config, config.tokens[-1])
    groups = config.teacher.preprocessing.groups
    stages.pop("head", None)
    return {name: macs if name in _PER_SUPERTOKEN else macs // groups for name, macs in stages.items()}


def workspace(models: Mapping[str, onnx.ModelProto], count: int, stages: tuple[str, ...]) -> int:
    """Bytes that a stage holds at its peak for each of ``count`` groups; of several stages the most."""
    return max(-(-_peak_bytes(name, models[name], count) // count) for name in stages)


def _peak_bytes(stage: str, model: onnx.ModelProto, count: int) -> int:
    """Largest total of the tensors alive at once, every one freed after its last use."""
    sizes = _sizes(stage, model, count)
    nodes = list(model.graph.node)
    last = {name: step for step, node in enumerate(nodes) for name in node.input}
    live = {one.name: sizes[one.name] for one in model.graph.input}
    peak = 0
    for step, node in enumerate(nodes):
        live |= {name: sizes[name] for name in node.output if name in sizes}
        peak = max(peak, sum(live.values()))
        for name in node.input:
            if last[name] == step:
                live.pop(name, None)
    return peak


def _sizes(stage: str, model: onnx.ModelProto, count: int) -> dict[str, int]:
    """Bytes of every input and of every tensor computed, for ``count`` groups: found by running the graph."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    computed = [name for node in shown.graph.node for name in node.output if name]
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    session = open_session(shown, literal=True)
    feed = _zeros(stage, session, count)
    found = session.run(computed, feed)
    constants = {tensor.name for tensor in model.graph.initializer}
    derived = _from_constants(model, constants)
    named = zip(computed, found, strict=True)
    return {name: one.nbytes for name, one in feed.items()} | {
        name: 0 if name in derived else np.asarray(one).nbytes for name, one in named
    }


def _from_constants(model: onnx.ModelProto, constants: set[str]) -> set[str]:
    """Tensors that depend on constants alone: they are computed once, when the graph is loaded."""
    derived = set(constants)
    for node in model.graph.node:
        if all(name in derived or not name for name in node.input):
            derived |= set(node.output)
    return derived


def _zeros(stage: str, session: Any, count: int) -> dict[str, Any]:
    known = {"windows": 1, "window": count, "run": count, "supertokens": 1}
    shapes = {one.name: one.shape for one in session.get_inputs()}
    feed = {}
    for name, form in STAGES[stage].inputs.items():
        sizes = [known.get(str(size), size) for size in shapes[name]]
        assert len(sizes) == len(form)
        feed[name] = np.zeros(sizes, dtype=np.float32)
    return feed
