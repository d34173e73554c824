"""The protocol on real graphs (ONNX Runtime) and on the fake: one contract, two implementations."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from foundry_edge_runtime.backends import (
    Backend,
    available_backend,
    backend_names,
    backend_statuses,
    get_backend,
)
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
from foundry_edge_runtime.backends.threads import set_threads
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, Graph, load_bundle
from foundry_edge_runtime.choice import choose
from foundry_edge_runtime.errors import BackendError, BundleError, InputError
from tests.runtime.tiny_bundle import GROUPS, LABELS, SIZE, WIDTH, build_graph, expected, write_bundle

BACKENDS = [OnnxRuntimeBackend("cpu"), OnnxRuntimeBackend("cpu", threads=1), FakeBackend(WIDTH, len(LABELS))]


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


def clouds(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    groups = rng.normal(size=(batch, GROUPS, SIZE, 3)).astype(np.float32)
    return groups, rng.normal(size=(batch, GROUPS, 3)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS, ids=["onnxruntime", "onnxruntime-1", "fake"])
@pytest.mark.parametrize("batch", [1, 3])
def test_contract(bundle: Bundle, backend: Backend, batch: int) -> None:
    assert backend.status().available
    engine = backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    engine.warm(batch)
    outputs = engine.run(*clouds(batch))
    assert outputs.tokens.shape == (batch, GROUPS, WIDTH)
    assert outputs.pooled.shape == (batch, 2 * WIDTH)
    assert outputs.logits is not None
    assert outputs.logits.shape == (batch, len(LABELS))
    assert {a.dtype for a in (outputs.tokens, outputs.pooled, outputs.logits)} == {np.dtype(np.float32)}
    again = engine.run(*clouds(batch))
    np.testing.assert_array_equal(again.tokens, outputs.tokens)
    info = engine.describe()
    assert info.backend == backend.name
    assert info.version
    engine.close()
    engine.close()
    with pytest.raises(BackendError, match="was closed"):
        engine.run(*clouds(batch))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("tokens", [1, 4])
def test_onnxruntime_computes_the_graph(bundle: Bundle, precision: str, tokens: int) -> None:
    rung = bundle.manifest.rung(tokens, precision)
    assert rung is not None
    engine = get_backend("onnxruntime").load(bundle.graph(rung), bundle.manifest.preprocessing)
    found = engine.run(*clouds(5))
    for value, reference in zip(vars(found).values(), expected(*clouds(5), precision, tokens), strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-5)


def test_rung_without_head(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b", head=False))
    engine = get_backend("onnxruntime").load(
        bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing
    )
    assert engine.run(*clouds(1)).logits is None


def test_missing_provider_is_an_error_and_not_the_cpu(bundle: Bundle) -> None:
    backend = OnnxRuntimeBackend("tensorrt-rtx")
    if backend.status().available:
        pytest.skip("this build has the provider")
    with pytest.raises(BackendError, match="has no NvTensorRTRTXExecutionProvider") as caught:
        backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    assert caught.value.exit_code == 3
    with pytest.raises(BackendError, match="has no NvTensorRTRTX"):
        available_backend("onnxruntime:tensorrt-rtx")


@pytest.mark.parametrize(
    ("machine", "features", "able"),
    [
        ("aarch64", "Features : fp asimd bf16 i8mm", True),
        ("aarch64", "Features : fp asimd", False),
        ("x86_64", "flags : avx512_bf16 bf16", False),
    ],
)
def test_bfloat16_products_are_for_arm_cpus_that_have_them(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, machine: str, features: str, able: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("foundry_edge_runtime.device._read", lambda path: features)
    backend = get_backend("onnxruntime:bf16")
    assert backend.status().available is able
    if not able:
        with pytest.raises(BackendError, match="no Arm CPU that multiplies in bfloat16"):
            backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
        return
    engine = backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    assert engine.describe().backend == "onnxruntime:bf16"
    assert np.isfinite(engine.run(*clouds(2)).tokens).all()


def test_bfloat16_is_never_chosen_by_itself(bundle: Bundle) -> None:
    assert choose(bundle.manifest, None, Budget()).backend == "onnxruntime"
    assert choose(bundle.manifest, None, Budget(backend="onnxruntime:bf16")).backend == "onnxruntime:bf16"


def test_provider_that_falls_back_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime only warns when the CUDA provider cannot start, and runs on the CPU."""
    actual = ["CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", *actual])
    monkeypatch.setattr(
        "onnxruntime.InferenceSession", lambda *_, **__: SimpleNamespace(get_providers=lambda: actual)
    )
    with pytest.raises(BackendError, match="asked for CUDAExecutionProvider, which fell back to CPU"):
        OnnxRuntimeBackend("cuda").load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)


def test_graph_that_does_not_load(bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    model = onnx.load_from_string(build_graph("fp32", 1, "fp32.bin"))
    model.graph.node[0].op_type = "NoSuchOperator"
    graph = Graph("odd.onnx", model.SerializeToString(), bundle.folder)
    with pytest.raises(BackendError, match=r"onnxruntime: cannot load odd\.onnx: .*NoSuchOperator") as caught:
        get_backend("onnxruntime").load(graph, bundle.manifest.preprocessing)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_graph_of_another_contract(bundle: Bundle) -> None:
    graph = bundle.graph(bundle.manifest.rungs[0])
    other = bundle.manifest.preprocessing.model_copy(update={"group_size": SIZE + 1})
    with pytest.raises(BundleError, match=r"inputs are .*'groups': \[4, 8, 3\].*expected .*\[4, 9, 3\]"):
        get_backend("onnxruntime").load(graph, other)
    model = onnx.load_from_string(graph.content)
    del model.graph.output[1]
    with pytest.raises(BundleError, match="lacks the output 'global'"):
        get_backend("onnxruntime").load(
            Graph("g", model.SerializeToString(), graph.folder), bundle.manifest.preprocessing
        )


def test_engine_that_fails_at_run(bundle: Bundle) -> None:
    engine = get_backend("onnxruntime").load(
        bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing
    )
    groups, centers = clouds(1)
    with pytest.raises(BackendError, match="the engine failed"):
        engine.run(groups[:, :2], centers)


def test_registry_names_and_unknown_name() -> None:
    assert [status.name for status in backend_statuses()] == list(backend_names())
    assert all(status.available or status.reason for status in backend_statuses())
    with pytest.raises(InputError, match=r"--backend must be one of onnxruntime, .*; found 'gpu'"):
        get_backend("gpu")


def test_broken_backend_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("foundry_edge_runtime.backends.registry", fromlist=["_KNOWN"])._KNOWN,
        "broken",
        ("foundry_edge_runtime.no_such_module", "Backend", ()),
    )
    status = backend_statuses()[-1]
    assert (status.name, status.available) == ("broken", False)
    assert "no_such_module" in status.reason


def test_fake_takes_its_time_and_breaks_as_told(bundle: Bundle) -> None:
    slept: list[float] = []
    name, other = bundle.manifest.rungs[0].graph.name, bundle.manifest.rungs[1]
    fake = FakeBackend(latency_ms={name: 7.0}, broken={other.graph.name: "no memory"}, sleep=slept.append)
    fake.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing).run(*clouds(1))
    assert slept == [0.007]
    with pytest.raises(BackendError, match="no memory"):
        fake.load(bundle.graph(other), bundle.manifest.preprocessing)
    assert fake.log == [f"load {name}", f"run {name}", f"load {other.graph.name}"]


def test_broken_onnxruntime_is_a_reason(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status = OnnxRuntimeBackend().status()
    assert not status.available
    assert status.reason.startswith("onnxruntime cannot be imported: ")
    with pytest.raises(BackendError, match="cannot be imported") as caught:
        OnnxRuntimeBackend().load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    assert caught.value.exit_code == 3


def test_threads_rest_after_a_run() -> None:
    options = onnxruntime.SessionOptions()
    set_threads(options, 3)
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
