"""The graphs of the bundle: form, names, batch, and agreement with torch at every budget."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from foundry_edge.load import load_student
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.part_head import PartHead, PartHeadConfig
from foundry_edge.models.student import Student
from foundry_edge_calibration.engine import open_session
from foundry_edge_calibration.placement import choose_sites
from foundry_edge_export import ExportReport, part_graph, scene_parity
from foundry_edge_export.bundle_files import read_drafts
from foundry_edge_export.compact import exact_in_half, store_in_half
from foundry_edge_export.form import check_versions
from foundry_edge_export.fp16 import computes_in_half, to_fp16
from foundry_edge_export.gates import fp32_gates
from foundry_edge_export.graph import trace
from foundry_edge_export.inference import InferenceStudent
from foundry_edge_export.lint import lint
from foundry_edge_export.parity import parity_clouds, torch_parity
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.errors import BackendError, GateError
from tests.export.conftest import BUDGETS, SPEC, TINY

Graphs = dict[str, onnx.ModelProto]


@pytest.fixture(scope="module")
def graphs(exported: ExportReport) -> Graphs:
    """Rung name -> its graph as it lies in the bundle, weights inside."""
    return {draft.name: draft.model for draft in read_drafts(load_bundle(exported.bundle))}


@pytest.fixture(scope="module")
def traced(models: Path) -> onnx.ModelProto:
    """The graph of four SuperTokens before its weights are stored in half."""
    return trace(load_student(models / "student"), 4)


def test_form(graphs: Graphs) -> None:
    for name, model in graphs.items():
        onnx.checker.check_model(model, full_check=True)
        lint(model, name)
        assert [value.name for value in model.graph.input] == ["groups", "centers"]
        assert [value.name for value in model.graph.output] == ["tokens", "global", "logits"]
        for value in (*model.graph.input, *model.graph.output):
            sizes = value.type.tensor_type.shape.dim
            assert sizes[0].dim_param
            assert all(size.dim_value > 0 for size in sizes[1:])


def test_the_graph_says_nothing_about_where_it_was_made(graphs: Graphs) -> None:
    for model in graphs.values():
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert b".py" not in model.SerializeToString()


def test_nodes_are_named_after_their_modules(graphs: Graphs) -> None:
    wanted = {"blocks.1.attn.qkv/MatMul", "tokenizer.leave/MatMul", "cau_mlp.fc1/MatMul", "head/MatMul"}
    for model in graphs.values():
        names = [node.name for node in model.graph.node]
        assert len(set(names)) == len(names)
        assert wanted <= set(names)


def test_a_head_with_a_hidden_layer_stays_in_full_precision() -> None:
    torch.manual_seed(0)
    sizes = TINY.model_copy(update={"head_hidden": 16})
    student = Student(StudentConfig(teacher=sizes, tokens=(2,))).eval()
    model, clouds = trace(student, 2), parity_clouds(SPEC)
    assert torch_parity(student, model, 2, clouds).max_abs < 1e-4
    inputs = torch.from_numpy(clouds.groups), torch.from_numpy(clouds.centers)
    with torch.no_grad():
        logits = student.classify(student(*inputs, 2))
        torch.testing.assert_close(InferenceStudent(student, 2)(*inputs)[2], logits, atol=1e-5, rtol=1e-4)
    maps = {node.name: node for node in to_fp16(model).graph.node if node.op_type == "MatMul"}
    assert {"head.enter/MatMul", "head/MatMul"} <= set(maps)
    assert all(computes_in_half(node) != name.startswith(("head", "dso")) for name, node in maps.items())


def test_constants_are_folded(graphs: Graphs) -> None:
    """No arithmetic on weights is left: what does not depend on an input only widens a stored constant."""
    for model in graphs.values():
        known = {value.name for value in model.graph.input}
        for node in model.graph.node:
            if known & set(node.input):
                known |= set(node.output)
            else:
                assert node.op_type in {"Cast", "DequantizeLinear"}, node.name


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("count", BUDGETS)
def test_agrees_with_torch_in_float64(models: Path, graphs: Graphs, count: int, batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    groups = torch.randn(batch, 16, 8, 3, generator=generator) * 0.1
    centers = torch.rand(batch, 16, 3, generator=generator) * 2 - 1
    reference = InferenceStudent(load_student(models / "student"), count, torch.float64)
    expected = reference(groups.double(), centers.double())
    session = open_session(graphs[f"s{count}-fp32"])
    found = session.run(None, {"groups": groups.numpy(), "centers": centers.numpy()})
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other.numpy()).max() < 2e-5


def test_parity_notices_a_wrong_weight(models: Path, traced: onnx.ModelProto) -> None:
    student, clouds = load_student(models / "student"), parity_clouds(SPEC)
    assert torch_parity(student, traced, 4, clouds).max_abs < 1e-4
    broken = onnx.ModelProto()
    broken.CopyFrom(traced)
    (tensor,) = (t for t in broken.graph.initializer if t.name == "blocks.1.mlp.fc2.weight")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[3, 5] += 0.05
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert torch_parity(student, broken, 4, clouds).max_abs > 1e-4


def poisoned(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with a weight that is not a number."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    (tensor,) = (t for t in broken.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return broken


def test_a_graph_that_gives_no_numbers_fails_its_gate(models: Path, traced: onnx.ModelProto) -> None:
    student, clouds = load_student(models / "student"), parity_clouds(SPEC)
    parity = torch_parity(student, poisoned(traced, "blocks.1.mlp.fc2.weight"), 4, clouds)
    assert np.isnan(parity.max_abs)
    assert fp32_gates(parity) == {"parity": False}


def test_a_part_graph_that_gives_no_numbers_fails_its_gate(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = PartHead(
        PartHeadConfig(width=48, parts=("a", "b"), categories=("c",), allowed=((0, 1),), hidden=16)
    )
    monkeypatch.setattr(part_graph, "store_in_half", lambda model: poisoned(model, "out.bias"))
    with pytest.raises(GateError, match="the graph for parts differs from torch by nan"):
        part_graph.part_graph(head.eval(), load_student(models / "student"))


def test_scene_graphs_that_give_no_numbers_fail_their_gate(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_student(models / "student")

    def broken(_: object, grouped: Any, scale: float, *rest: Any) -> SimpleNamespace:
        tokens = scene_parity.whole_scene(student, grouped, scale, 4)[0].copy()
        tokens[0, 0] = np.nan if rest[-1] == scene_parity.CHUNKS[1] else tokens[0, 0]
        return SimpleNamespace(tokens=tokens)

    monkeypatch.setattr(scene_parity, "chunked", broken)
    about = {"tokens": (1, 2, 4), "window": 16, "group_radius": 0.2}
    with pytest.raises(GateError, match="scene graphs differ from torch by nan"):
        scene_parity.scene_parity(student, {}, about)


def test_wide_takes_every_map_of_a_light_tokenizer_but_the_one_that_reads_coordinates() -> None:
    config = StudentConfig(teacher=TINY, tokens=(2,), tokenizer="lite", lite_width=8, mixing_blocks=1)
    model = trace(Student(config), 2)
    lint(model)
    modules = {site.module for site in choose_sites(model, "wide") if not site.module.startswith("blocks.")}
    assert {name for name in modules if name.startswith("tokenizer.")} == {
        "tokenizer.point",
        "tokenizer.group",
        "tokenizer.leave",
    }
    assert "mixing.0.attn.qkv" in modules
    everything = {site.module for site in choose_sites(model, "all-linear")}
    assert {"tokenizer.enter", "position.fc1"} <= everything - modules


def test_half_storage_changes_no_bit(traced: onnx.ModelProto) -> None:
    clouds, compact = parity_clouds(SPEC), store_in_half(traced)
    stored = {t.name for t in compact.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    assert "blocks.0.attn.qkv.weight.stored" in stored
    assert "tokenizer.point.weight.stored" not in stored  # a folded product, which half precision cannot hold
    assert compact.ByteSize() < 0.9 * traced.ByteSize()
    feed = {"groups": clouds.groups, "centers": clouds.centers}
    plain = open_session(traced).run(None, feed)
    for one, other in zip(plain, open_session(compact).run(None, feed), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("value", "exact"), [(1.0, True), (-0.0, True), (1 + 2**-11, False), (65536.0, False), (2**-24, True)]
)
def test_exactness_in_half(value: float, exact: bool) -> None:
    assert exact_in_half(np.array([0.5, value], dtype=np.float32)) is exact


def test_another_opset_is_refused(traced: onnx.ModelProto) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(traced)
    other.opset_import[0].version = 18
    with pytest.raises(BackendError, match="expected opset 20 and IR 10, found"):
        check_versions(other, "graph.onnx")
