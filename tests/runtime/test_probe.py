"""GPU backends are tried in a process of their own: whatever happens there is a reason and no crash here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.backends import available_backend, backend_statuses, get_backend
from foundry_edge_runtime.backends.base import BackendStatus
from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
from foundry_edge_runtime.backends.probe import main, probed
from foundry_edge_runtime.backends.trt import TensorRtBackend, backend
from foundry_edge_runtime.backends.trt.library import installed
from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.doctor import doctor
from foundry_edge_runtime.errors import BackendError, DeviceError


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    probed.cache_clear()
    yield
    probed.cache_clear()


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is started instead of Python; the test writes it."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(backend, "installed", lambda _: True)
    return path


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "the process that tried it died of SIGSEGV"),
        ("echo terminate called >&2; kill -ABRT $$", r"died of SIGABRT \(terminate called\)"),
        ("kill -40 $$", "died of signal 40"),
        (
            "echo first >&2; echo libnvinfer.so.10 is missing >&2; exit 3",
            r"ended with exit code 3 \(libnvinfer.so.10 is missing\)",
        ),
        ("exit 0", "the process that tried it ended with exit code 0"),
        ("echo noise", "ended with exit code 0"),
    ],
)
def test_broken_library_is_a_reason(python: Path, script: str, reason: str) -> None:
    python.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(BackendError, match=reason) as caught:
        available_backend("tensorrt")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    listed = {status.name: status for status in backend_statuses()}
    assert not listed["tensorrt"].available
    assert listed["onnxruntime"].available


def test_hanging_library_is_left_behind(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foundry_edge_runtime.backends.probe.SECONDS", 0.3)
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    started = time.monotonic()
    assert probed("tensorrt").reason == "gave no answer within 0.3 s"
    assert time.monotonic() - started < 5


def test_answer_among_the_noise_of_a_library(python: Path, tmp_path: Path) -> None:
    gpu = {"gpu": "NVIDIA Orin", "compute_capability": ["8.7"], "driver": "540.4.0", "cuda": "12.6"}
    answer = json.dumps({"name": "tensorrt", "available": True, "version": "10.3", "reason": "", "gpu": gpu})
    python.write_text(
        f"#!/bin/sh\necho loading\nprintf '[TRT] no newline'\n"
        f"printf '\\nfoundry-edge-answer:%s\\n' '{answer}'\necho tried >> {tmp_path}/log\n"
    )
    assert probed("tensorrt") == BackendStatus("tensorrt", True, "10.3", gpu=gpu)
    assert probed("tensorrt").available
    assert (tmp_path / "log").read_text() == "tried\n"


def test_python_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    assert "cannot be tried" in probed("tensorrt").reason


def test_missing_library_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "installed", lambda _: False)
    monkeypatch.setattr(backend, "probed", pytest.fail)
    assert TensorRtBackend().status().reason == "the Python package 'tensorrt' is not installed"


def test_real_process_answers() -> None:
    found = probed("onnxruntime")
    assert found == get_backend("onnxruntime").status()
    assert found.available


def test_real_library_without_a_driver_is_a_reason() -> None:
    """The process itself, with the libraries that are installed here."""
    if not installed("tensorrt-rtx"):
        pytest.skip("needs the extra tensorrt-rtx")
    found = TensorRtBackend("tensorrt-rtx").status()
    if found.available:
        assert found.gpu
    else:
        assert found.reason
        assert "\n" not in found.reason


def test_doctor_lists_every_backend_with_its_reason(bundle_folder: Path, python: Path) -> None:
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    record = doctor(bundle_folder).as_json()
    assert json.loads(json.dumps(record)) == record
    listed = {one["name"]: one for one in record["backends"]}
    assert listed["tensorrt"]["reason"] == "the process that tried it died of SIGSEGV"
    assert record["healthy"]


def test_main_reports_an_unknown_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["probe", "nonsense"])
    assert main() == 0
    assert "--backend must be one of" in capsys.readouterr().out


def fake_session(actual: list[str], nodes: dict[str, int]) -> SimpleNamespace:
    """A session of ONNX Runtime as far as its providers go."""
    parts = [SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [0] * n) for name, n in nodes.items()]
    return SimpleNamespace(
        get_providers=lambda: actual,
        get_provider_graph_assignment_info=lambda: parts,
        run=lambda _names, feed: [feed["x"]],
    )


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("actual", "nodes", "reason"),
    [
        ([CUDA, CPU], {CUDA: 7, CPU: 2}, ""),
        ([CUDA, CPU], {}, ""),
        ([CUDA, CPU], {CPU: 9}, "CUDAExecutionProvider takes no node of the graph"),
        ([CPU], {CPU: 9}, "asked for CUDAExecutionProvider, which fell back to CPUExecutionProvider"),
    ],
)
def test_provider_asked_for_and_provider_in_use(
    monkeypatch: pytest.MonkeyPatch, actual: list[str], nodes: dict[str, int], reason: str
) -> None:
    options: list[Any] = []

    def session(*_arguments: Any, **named: Any) -> SimpleNamespace:
        options.append(named)
        return fake_session(actual, nodes)

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    found = OnnxRuntimeBackend("cuda").examine()
    assert (found.available, found.reason) == (not reason, reason)
    assert options[0]["enable_fallback"] == 0
    assert options[0]["providers"] == [(CUDA, {"use_tf32": 0}), CPU]


def test_tiny_model_is_a_model() -> None:
    """It runs on the provider that is everywhere, too."""
    found = OnnxRuntimeBackend("cpu").examine()
    assert (found.available, found.reason) == (True, "")


def test_real_onnxruntime_does_not_start_again_on_the_cpu(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its Python layer prints a provider's failure and goes on with another, unless told not to."""
    import onnxruntime

    bundle = load_bundle(bundle_folder)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    tries: list[Any] = []

    def create(_self: Any, providers: Any, *_more: Any) -> None:
        tries.append(providers)
        raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", create)
    with pytest.raises(BackendError, match="CUDA failure 35"):
        OnnxRuntimeBackend("cuda").load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    assert len(tries) == 1
    assert capfd.readouterr() == ("", "")


def test_cpu_engine_tells_its_device(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    engine = OnnxRuntimeBackend().load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    assert (engine.describe().device, engine.describe().detail) == ("cpu", "")
    assert engine.run(np.zeros((1, 4, 8, 3), np.float32), np.zeros((1, 4, 3), np.float32)).logits is not None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceError),
        ("CUDA error 719: unspecified launch failure", DeviceError),
        ("CUDA failure 2: out of memory ; GPU=0", BackendError),
        ("Non-zero status code returned while running Add node", BackendError),
    ],
)
def test_gpu_that_dies_under_onnxruntime(bundle_folder: Path, said: str, kind: type[BackendError]) -> None:
    bundle = load_bundle(bundle_folder)
    engine = OnnxRuntimeBackend().load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)

    def run(*_arguments: Any) -> None:
        raise RuntimeError(said)

    engine._session = SimpleNamespace(run=run)
    with pytest.raises(BackendError, match="the engine failed: ") as caught:
        engine.run(np.zeros((1, 4, 8, 3), np.float32), np.zeros((1, 4, 3), np.float32))
    assert type(caught.value) is kind
