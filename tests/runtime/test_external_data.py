"""Finding external data in a graph without onnx; onnx builds the graphs here and judges the walk."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from foundry_edge_runtime.bundle.external_data import (
    MAX_DEPTH,
    ExternalTensor,
    check_external_data,
    external_tensors,
)
from foundry_edge_runtime.errors import BundleError
from tests.runtime.tiny_bundle import build_graph


def external(name: str, location: str, **entries: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph(
    name: str, *initializers: onnx.TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()
) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [], list(initializers))


def node(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("If", ["x"], ["y"], **attributes)


def sparse(name: str, location: str) -> onnx.SparseTensorProto:
    indices = helper.make_tensor(f"{name}_i", TensorProto.INT64, [1], [0])
    return helper.make_sparse_tensor(external(name, location), indices, [4])


def everywhere() -> onnx.ModelProto:
    """A model with an external tensor in every place that onnx.proto has for one."""
    inner = graph("inner", external("inner", "l1"))
    deep = graph("deep", external("deep", "l2"), nodes=(node(then_branch=inner),))
    nodes = (
        node(then_branch=deep, else_branch=graph("other", external("else", "l3"))),
        node(many=[graph("g1", external("g1", "l4")), graph("g2", external("g2", "l5"))]),
        node(value=external("value", "l6")),
        node(values=[external("v1", "l7"), external("v2", "l8")]),
        node(sparse=sparse("s1", "l9")),
        node(sparses=[sparse("s2", "l10")]),
    )
    main = graph("main", external("w", "l11", offset="4096", length="4"), nodes=nodes)
    main.sparse_initializer.append(sparse("s3", "l12"))
    model = helper.make_model(main)
    body = helper.make_node("Constant", [], ["c"], value=external("f1", "l13"))
    model.functions.append(helper.make_function("d", "F", [], ["c"], [body], []))
    model.functions[0].attribute_proto.append(helper.make_attribute("a", external("f2", "l14")))
    training = model.training_info.add()
    training.initialization.CopyFrom(graph("init", external("t1", "l15")))
    training.algorithm.CopyFrom(graph("step", external("t2", "l16")))
    return model


def test_every_place_is_found() -> None:
    found = external_tensors(everywhere().SerializeToString(), "m")
    assert {tensor.location for tensor in found} == {f"l{i}" for i in range(1, 17)}
    assert ExternalTensor("w", "l11", 4096, 4) in found


def test_tiny_bundle_graph_is_accepted() -> None:
    content = build_graph("fp32", 4, "fp32.bin")
    assert {t.tensor for t in external_tensors(content, "m")} == {"embed", "position", "head"}
    check_external_data(content, "m", {"fp32.bin": 216})
    with pytest.raises(BundleError, match=r"ends at byte 216 of 'fp32\.bin', which has 215"):
        check_external_data(content, "m", {"fp32.bin": 215})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ext_dotdot.onnx", r"'\.\./artefacts_secret\.bin', expected w_short\.bin"),
        ("ext_abs.onnx", r"'/etc/hostname', expected w_short\.bin"),
        ("ext_offset.onnx", "ends at byte 1099511627800"),
        ("trunc.onnx", "not a usable ONNX graph"),
    ],
)
def test_hostile_artefacts(shared: Path, name: str, message: str) -> None:
    folder = shared / "corpus" / "artefacts"
    files = {"w_short.bin": (folder / "w_short.bin").stat().st_size}
    with pytest.raises(BundleError, match=message):
        check_external_data((folder / name).read_bytes(), name, files)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-1"},
        {"length": "0x10"},
        {"offset": "9" * 30},
        {"length": "\N{FULLWIDTH DIGIT ONE}"},
        {"basepath": "/"},
        {"location": ""},
    ],
)
def test_odd_entries_are_refused(entries: dict[str, str]) -> None:
    tensor = external("w", "w.bin")
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    with pytest.raises(BundleError, match="external data"):
        external_tensors(helper.make_model(graph("g", tensor)).SerializeToString(), "m")


def test_external_tensor_without_location_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    with pytest.raises(BundleError, match="'w' names no location"):
        external_tensors(helper.make_model(graph("g", tensor)).SerializeToString(), "m")


def test_location_counts_even_when_the_tensor_says_that_its_data_are_inside() -> None:
    tensor = external("w", "../x")
    tensor.data_location = TensorProto.DEFAULT
    with pytest.raises(BundleError, match=r"'\.\./x'"):
        check_external_data(helper.make_model(graph("g", tensor)).SerializeToString(), "m", {})


def test_nodes_that_load_other_files_are_refused() -> None:
    model = helper.make_model(
        graph("g", nodes=(helper.make_node("EPContext", [], ["y"], domain="com.microsoft"),))
    )
    with pytest.raises(BundleError, match="EPContext"):
        external_tensors(model.SerializeToString(), "m")


def test_onnx_runtimes_own_format_is_refused() -> None:
    with pytest.raises(BundleError, match="own format"):
        external_tensors(b"\x08\0\0\0ORTM" + bytes(64), "m")


def _nested(depth: int) -> bytes:
    inner = graph("leaf", external("w", "x"))
    for _ in range(depth):
        inner = graph("g", nodes=(node(then_branch=inner),))
    return bytes(helper.make_model(inner).SerializeToString())


def test_depth_is_bounded() -> None:
    assert external_tensors(_nested(15), "m")[0].location == "x"
    with pytest.raises(BundleError, match=f"deeper than {MAX_DEPTH}"):
        external_tensors(_nested(30), "m")


@pytest.mark.parametrize(
    "content",
    [
        b"\x3a",  # a length is missing
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # longer than the file
        b"\xff" * 12,  # a number without an end
        b"\x3b\x3c",  # group wire types
        b"\x09" + struct.pack("<I", 1),  # 8 bytes announced, 4 there
        b"\xba\x80\x80\x80\x80\x80\x01\x00",  # a field key that a parser might cut to 32 bits
    ],
)
def test_broken_messages_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="not a usable ONNX graph"):
        external_tensors(content, "m")


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_the_one_error(content: bytes) -> None:
    with contextlib.suppress(BundleError):
        external_tensors(content, "m")


_WHOLE = everywhere().SerializeToString()


@given(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255))
def test_changed_byte_never_hides_a_location_that_onnx_would_see(at: int, value: int) -> None:
    content = bytearray(_WHOLE)
    content[at] = value
    try:
        model = onnx.load_from_string(bytes(content))
    except Exception:  # not a model for onnx either, whatever it raises
        return
    entries = [entry for tensor in _tensors(model) for entry in tensor.external_data]
    seen = {_text(entry.value) for entry in entries if entry.key == "location"}
    try:
        found = {tensor.location for tensor in external_tensors(bytes(content), "m")}
    except BundleError:
        return
    assert seen <= found


def _tensors(message: object) -> list[onnx.TensorProto]:
    """Every TensorProto inside a message, by protobuf's own reflection."""
    if isinstance(message, TensorProto):
        return [message]
    found: list[onnx.TensorProto] = []
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.message_type is not None:
            parts = value if hasattr(value, "append") or hasattr(value, "add") else [value]
            found += [tensor for part in parts for tensor in _tensors(part)]
    return found


def _text(value: str | bytes) -> str:
    """onnx gives text that is no UTF-8 as bytes."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
