"""Graphs that share a weights file, and the way back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_export.shared_weights import ALIGNMENT, attach, detach, share
from foundry_edge_runtime.errors import BundleError


def _model(**tensors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B"])
    initializers = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph([], "g", [value], [value], initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _array(seed: int, size: int = 500) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_the_same_bytes_are_stored_once() -> None:
    one = _model(a=_array(0), b=_array(1), small=_array(2, 3))
    two = _model(other_name=_array(1), c=_array(3))
    pool, places = share([one, two])
    assert places[0][1] == places[1][0]
    assert places[0][2] is None
    stored = [place for place in (*places[0], *places[1]) if place]
    assert all(offset % ALIGNMENT == 0 for offset, _ in stored)
    assert len(pool.content()) <= 3 * (2000 + ALIGNMENT)


def test_round_trip() -> None:
    models = [_model(a=_array(0), b=_array(1)), _model(b=_array(1), small=_array(2, 3))]
    pool, places = share(models)
    for model, where in zip(models, places, strict=True):
        graph = detach(model, where, "w.bin")
        assert len(graph) < 800
        assert attach(graph, pool.content(), "g.onnx") == model


def test_a_graph_that_reads_beyond_the_file_is_refused() -> None:
    model = _model(a=_array(0))
    pool, places = share([model])
    graph = detach(model, places[0], "w.bin")
    with pytest.raises(BundleError, match="ends at byte 2000"):
        attach(graph, pool.content()[:-4], "g.onnx")


def test_a_graph_of_two_files_is_refused() -> None:
    one, two = _model(a=_array(0)), _model(b=_array(1))
    _, places = share([one])
    light = onnx.load_model_from_string(detach(one, places[0], "w.bin"))
    other = onnx.load_model_from_string(detach(two, places[0], "../secret"))
    light.graph.initializer.extend(other.graph.initializer)
    with pytest.raises(BundleError, match="uses 2 weights files, expected one"):
        attach(light.SerializeToString(), bytes(4000), "g.onnx")
