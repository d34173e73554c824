"""What ONNX Runtime's GPU providers are asked for, by the precision of a rung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
from foundry_edge_runtime.backends.providers import Asked, asked, engine_folder
from foundry_edge_runtime.bundle.load import Graph, load_bundle
from foundry_edge_runtime.errors import BackendError, StorageError

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
RTX = "NvTensorRTRTXExecutionProvider"
EXACT_CUDA = (CUDA, {"use_tf32": 0})


def graph(precision: str) -> Graph:
    return Graph("s4.onnx", b"", Path(), "a" * 64, "b" * 64, precision)


def options(one: Asked) -> dict[str, Any]:
    assert isinstance(one, tuple)
    return one[1]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-fp16"])
def test_cuda_computes_without_tf32(precision: str, cache: Path) -> None:
    assert asked("cuda", graph(precision), [TENSORRT, CUDA, CPU]) == [EXACT_CUDA, CPU]
    assert not cache.exists()


@pytest.mark.parametrize(
    ("precision", "int8", "fp16"),
    [("fp32", False, False), ("fp16", False, True), ("int8", True, False), ("int8-fp16", True, True)],
)
def test_tensorrt_computes_in_the_precision_of_the_rung(
    precision: str, int8: bool, fp16: bool, cache: Path
) -> None:
    first, *rest = asked("tensorrt", graph(precision), [TENSORRT, CUDA, CPU])
    assert (first[0], rest) == (TENSORRT, [EXACT_CUDA, CPU])
    folder = engine_folder(graph(precision))
    assert options(first) == {
        "trt_int8_enable": int8,
        "trt_fp16_enable": fp16,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder.parent),
    }
    assert folder.parent.parent == cache


def test_providers_that_this_build_lacks_are_not_asked_for() -> None:
    assert [one[0] for one in asked("tensorrt", graph("fp32"), [TENSORRT, CPU])[:1]] == [TENSORRT]
    assert asked("tensorrt", graph("fp32"), [TENSORRT, CPU])[1:] == [CPU]
    assert asked("tensorrt-rtx", graph("fp32"), [RTX, CUDA, CPU]) == [RTX, CPU]
    assert asked("cpu", graph("fp32"), [CUDA, CPU]) == asked("bf16", graph("fp32"), [CPU]) == [CPU]


def test_engines_of_other_files_precisions_versions_and_gpus_lie_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ONNX Runtime takes an engine for that of a graph by names and shapes, which rungs share."""
    one = graph("int8")
    folders = {
        engine_folder(one),
        engine_folder(replace(one, sha256="c" * 64)),
        engine_folder(replace(one, weights_sha256="c" * 64)),
        engine_folder(replace(one, precision="int8-fp16")),
    }
    monkeypatch.setattr("foundry_edge_runtime.backends.providers.gpus", lambda: ["NVIDIA L4"])
    folders.add(engine_folder(one))
    monkeypatch.setattr("foundry_edge_runtime.backends.providers.versions", lambda _: {"onnxruntime": "9"})
    folders.add(engine_folder(one))
    assert len(folders) == 6
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_engines_of_a_folder_that_others_can_write_are_discarded(cache: Path) -> None:
    folder = engine_folder(graph("fp32"))
    (folder / "planted.engine").write_bytes(b"code")
    folder.chmod(0o777)
    assert list(engine_folder(graph("fp32")).iterdir()) == []
    folder.rmdir()
    folder.symlink_to(cache)
    with pytest.raises(StorageError, match="symbolic link"):
        engine_folder(graph("fp32"))


def test_a_session_is_given_them(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def session(*_: Any, providers: list[Asked], **__: Any) -> SimpleNamespace:
        given.extend(providers)
        return SimpleNamespace(get_providers=lambda: [CPU])

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    bundle = load_bundle(bundle_folder)
    rung = next(one for one in bundle.manifest.rungs if one.precision == "int8")
    with pytest.raises(BackendError, match="fell back to CPU"):
        OnnxRuntimeBackend("tensorrt").load(bundle.graph(rung), bundle.manifest.preprocessing)
    assert options(given[0])["trt_int8_enable"] is True
    assert given[1:] == [EXACT_CUDA, CPU]
    given.clear()
    assert "fell back" in OnnxRuntimeBackend("tensorrt").examine().reason
    assert "trt_engine_cache_enable" not in options(given[0])
