"""Placement and arithmetic of static INT8 against numpy in float64."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_calibration.engine import open_session
from foundry_edge_calibration.placement import POLICIES, check_policy, choose_sites
from foundry_edge_calibration.qdq import insert_qdq, quantize_weight
from foundry_edge_calibration.ranges import observe
from foundry_edge_calibration.sensitivity import sensitivity
from foundry_edge_runtime.errors import DataError, InputError

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(3, 16)).astype(np.float32)
SECOND = RNG.normal(size=(16, 16)).astype(np.float32) * np.linspace(0.1, 5, 16).astype(np.float32)


def _model() -> onnx.ModelProto:
    """tokens = relu(centers @ first) @ second + relu(...) @ second; two readers of one activation."""
    names = ("tokenizer.enter", "blocks.0.attn.qkv", "blocks.0.mlp.fc1")
    nodes = [
        helper.make_node("MatMul", ["centers", "first"], ["h"], name=f"{names[0]}/MatMul"),
        helper.make_node("Relu", ["h"], ["r"], name="Relu"),
        helper.make_node("MatMul", ["r", "second"], ["a"], name=f"{names[1]}/MatMul"),
        helper.make_node("MatMul", ["r", "second"], ["b"], name=f"{names[2]}/MatMul"),
        helper.make_node("Add", ["a", "b"], ["tokens"], name="Add"),
        helper.make_node("ReduceMax", ["groups", "axes"], ["global"], name="Max"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("groups", TensorProto.FLOAT, ["B", 4, 2, 3]),
            helper.make_tensor_value_info("centers", TensorProto.FLOAT, ["B", 4, 3]),
        ],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["B", 4, 16])],
        [
            numpy_helper.from_array(FIRST, "first"),
            numpy_helper.from_array(SECOND, "second"),
            numpy_helper.from_array(np.array([2]), "axes"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _clouds(count: int = 9) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    groups = rng.normal(size=(count, 4, 2, 3)).astype(np.float32)
    return groups, rng.normal(size=(count, 4, 3)).astype(np.float32)


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], step: float) -> object:
    return np.clip(np.rint(values / step), -128, 127) * step


def test_weights_are_within_half_a_step_per_channel() -> None:
    values, scale = quantize_weight(SECOND)
    assert values.dtype == np.int8
    assert values.min() >= -127
    assert np.all(np.abs(values * scale - SECOND) <= scale / 2 * 1.0001)
    np.testing.assert_allclose(scale, np.abs(SECOND).max(axis=0) / 127, rtol=1e-6)


def test_a_zero_channel_stays_zero() -> None:
    weight = SECOND.copy()
    weight[:, 3] = 0
    values, scale = quantize_weight(weight)
    assert np.all(scale > 0)
    assert not values[:, 3].any()


def test_int8_graph_computes_what_numpy_computes() -> None:
    model, (groups, centers) = _model(), _clouds()
    sites = choose_sites(model, "encoder")
    assert [site.module for site in sites] == ["blocks.0.attn.qkv", "blocks.0.mlp.fc1"]
    limit = 4.0
    quantised = insert_qdq(model, sites, {"r": limit})
    onnx.checker.check_model(quantised, full_check=True)
    (found,) = open_session(quantised).run(["tokens"], {"groups": groups, "centers": centers})
    hidden = np.maximum(centers @ FIRST, 0).astype(np.float64)
    values, scale = quantize_weight(SECOND)
    expected = 2 * (_rounded(hidden, limit / 127) @ (values.astype(np.float64) * scale))  # type: ignore[operator]
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_readers_of_one_activation_share_its_scale_up_to_rounding_and_the_weight() -> None:
    quantised = insert_qdq(_model(), choose_sites(_model(), "encoder"), {"r": 4.0})
    constants = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    first, second = constants["blocks.0.attn.qkv.input.scale"], constants["blocks.0.mlp.fc1.input.scale"]
    assert second == np.nextafter(first, np.float32(np.inf))
    assert "second" not in constants
    assert sum(value.dtype == np.int8 and value.ndim == 2 for value in constants.values()) == 1


def test_the_model_given_is_left_as_it_was() -> None:
    model = _model()
    before = model.SerializeToString()
    insert_qdq(model, choose_sites(model, "all-linear"), {"r": 1.0, "centers": 1.0})
    assert model.SerializeToString() == before


def test_observed_ranges_are_those_of_numpy_whatever_the_batch() -> None:
    model, (groups, centers) = _model(), _clouds()
    hidden = np.maximum(centers @ FIRST, 0)
    seen: list[int] = []
    for batch in (1, 4, 9):
        observation = observe(model, ["r", "centers"], groups, centers, seen.append, batch)
        ranges = observation.ranges("minmax")
        assert ranges["r"] == pytest.approx(hidden.max(), rel=1e-6)
        assert ranges["centers"] == np.abs(centers).max()
    assert sum(seen) == 3 * len(groups)


def test_coverage_tells_of_ranges_that_still_grow() -> None:
    groups, centers = _clouds(16)
    settled = observe(_model(), ["r"], groups, centers, batch=2).coverage
    centers[-1] *= 10
    growing = observe(_model(), ["r"], groups, centers, batch=2).coverage
    assert growing.growing == 1
    assert growing.largest_growth > max(2, settled.largest_growth)


def test_activations_that_are_not_finite_are_refused() -> None:
    groups, centers = _clouds()
    centers[3] = 3e38
    with pytest.raises(DataError, match="r: an activation is not finite"):
        observe(_model(), ["r"], groups, centers)


def test_sensitivity_ranks_the_blocks_by_what_they_lose() -> None:
    model, (groups, centers) = _model(), _clouds()
    sites = choose_sites(model, "all-linear")
    ranges = {"r": 0.05, "centers": float(np.abs(centers).max())}  # the blocks' input is clipped badly
    (reference,) = open_session(model).run(["tokens"], {"groups": groups, "centers": centers})
    worst, best = sensitivity(model, sites, ranges, groups, centers, reference)
    assert (worst.block, best.block) == ("blocks.0", "tokenizer.enter")
    assert worst.cosine_mean < 0.99 < best.cosine_mean < 1
    assert worst.cosine_worst <= worst.cosine_mean


def test_policies_nest_and_keep_takes_names() -> None:
    for wider, narrower in zip(POLICIES, list(POLICIES)[1:], strict=False):
        assert set(POLICIES[narrower]) < set(POLICIES[wider])
    assert set(POLICIES["all-linear"]) - set(POLICIES["wide"]) == {"position."}
    model = _model()
    assert len(choose_sites(model, "all-linear")) == 3
    assert [s.module for s in choose_sites(model, "all-linear", ("blocks.0.attn",))] == [
        "tokenizer.enter",
        "blocks.0.mlp.fc1",
    ]
    with pytest.raises(
        InputError, match=r"no quantised module 'blocks.0.at'; use one of tokenizer.enter, bl"
    ):
        choose_sites(model, "encoder", ("blocks.0.at",))
    with pytest.raises(InputError, match="nothing is left to quantise"):
        choose_sites(model, "encoder", ("blocks.0",))
    with pytest.raises(InputError, match="--quantize: unknown value 'best'; use one of auto"):
        check_policy("best")


def test_wide_leaves_out_what_reads_coordinates_and_block_is_short_for_blocks() -> None:
    model = _model()
    wide = [site.module for site in choose_sites(model, "wide")]
    assert (
        wide == ["blocks.0.attn.qkv", "blocks.0.mlp.fc1"] == [s.module for s in choose_sites(model, "auto")]
    )
    assert [s.module for s in choose_sites(model, "wide", ("block.0.mlp",))] == ["blocks.0.attn.qkv"]


def test_scales_exact_in_half_clip_nothing_more() -> None:
    weight = SECOND * np.float32(1e-5)
    for half in (False, True):
        values, scale = quantize_weight(weight, half)
        assert np.all(np.abs(values * scale - weight) <= scale / 2 * 1.0001)
        assert np.all(scale > 0)
    assert np.array_equal(scale, scale.astype(np.float16).astype(np.float32))
