"""Both implementations of the driver interface, on a fake driver that notices every broken promise."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from foundry_edge_runtime.backends.cuda import Device, open_device
from foundry_edge_runtime.backends.cuda.cuda_python import CudaPython
from foundry_edge_runtime.backends.cuda.driver import Kernel
from foundry_edge_runtime.backends.cuda.nvrtc import compile_source
from foundry_edge_runtime.errors import BackendError, DeviceError
from tests.runtime import cuda_contract
from tests.runtime.emulated import COMPILER, needs_compiler
from tests.runtime.fake_cuda import NO_MEMORY, FakeGpu
from tests.runtime.fake_cuda_python import cuda_python
from tests.runtime.fake_pycuda import CompileError, pycuda
from tests.runtime.fake_site import install_compilers

FAKES: dict[str, tuple[str, Callable[[FakeGpu], ModuleType]]] = {
    "cuda-python": ("cuda.bindings.driver", cuda_python),
    "pycuda": ("pycuda.driver", pycuda),
}


@pytest.fixture(params=list(FAKES))
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def gpu(library: str, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    found = FakeGpu()
    module, make = FAKES[library]
    monkeypatch.setitem(sys.modules, module, make(found))
    install_compilers(monkeypatch)
    return found


@pytest.mark.parametrize(
    "promise",
    [
        cuda_contract.round_trip,
        cuda_contract.mapped_memory_has_an_address,
        cuda_contract.events_tell_the_time,
        cuda_contract.threads_do_not_meet,
        pytest.param(cuda_contract.kernels_group_as_the_cpu_does, marks=needs_compiler),
        pytest.param(cuda_contract.kernels_group_every_kind_of_cloud, marks=needs_compiler),
    ],
)
def test_contract(library: str, gpu: FakeGpu, promise: Callable[[Device], None]) -> None:
    device = open_device(library=library)
    promise(device)
    device.close()
    device.close()
    gpu.check()


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_graphs(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    cuda_contract.captured_work_is_done_when_launched(device)
    device.close()
    gpu.check()


@needs_compiler
@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
@pytest.mark.parametrize("integrated", [False, True])
def test_graphs_of_kernels(library: str, gpu: FakeGpu, integrated: bool) -> None:
    gpu.integrated = integrated
    device = open_device(library=library)
    cuda_contract.captured_kernels_group_what_lies_there(device)
    device.close()
    gpu.check()


@pytest.mark.parametrize("library", ["pycuda"], indirect=True)
def test_pycuda_says_that_it_has_no_graphs(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    assert not device.driver.can_capture
    with device.current(), pytest.raises(BackendError, match="no calls for CUDA graphs; install cuda-python"):
        device.stream().capture(lambda: None)
    device.close()
    gpu.check()


def test_attributes(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    found = device.attributes
    assert (found.name, found.compute_capability, found.memory) == ("NVIDIA Fake", (8, 7), 8 << 30)
    assert (found.integrated, found.can_map, found.driver, device.mapped) == (False, True, 13000, False)
    device.close()
    for integrated, can_map, mapped in ((True, True, True), (True, False, False)):
        gpu.integrated, gpu.can_map = integrated, can_map
        other = open_device(library=library)
        assert other.mapped is mapped
        other.close()
    gpu.check()


def test_resources_are_freed_once_and_early_when_asked(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    with device.current():
        memory, host, stream = device.buffer(8), device.host_buffer(8), device.stream()
        memory.close()
        memory.close()
        assert gpu.live == ["host", "stream"]
    del host, stream
    device.close()
    gpu.check()


def test_closing_from_another_thread(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    cuda_contract.round_trip(device)
    closing = threading.Thread(target=device.close)
    closing.start()
    closing.join()
    gpu.check()


def everything(library: str) -> None:
    """Use every call once."""
    device = open_device(library=library)
    try:
        cuda_contract.round_trip(device)
        cuda_contract.mapped_memory_has_an_address(device)
        cuda_contract.events_tell_the_time(device)
        if device.driver.can_capture:
            cuda_contract.captured_work_is_done_when_launched(device)
        if COMPILER:
            cuda_contract.kernels_group_as_the_cpu_does(device)
    finally:
        device.close()


def test_every_call_may_fail(
    library: str, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No leak but of what CUDA itself refused to take back, nothing freed twice, and one clear error."""
    everything(library)
    calls = len(gpu.calls)
    assert calls > 60
    module, make = FAKES[library]
    quiet = []
    for number in range(1, calls + 1):
        broken = FakeGpu(fail_at=number)
        monkeypatch.setitem(sys.modules, module, make(broken))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            said = refusal(library)
        if said is None:
            quiet.append(broken.calls[number - 1])
        else:
            assert "CUDA_ERROR_ILLEGAL_ADDRESS" in said
            assert "\n" not in said
        broken.check(lost=1)
        if broken.live and library == "cuda-python":
            assert said or "not all GPU resources were freed" in caplog.text
    assert {name.split()[0] for name in quiet} <= {"drop", "push", "pop", "release", "synchronise"}


def refusal(library: str) -> str | None:
    """What using everything ends with, None when nothing is raised."""
    try:
        everything(library)
    except BackendError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("library", "wanted"),
    [
        ("cuda-python", "NVRTC: the kernels cannot be compiled: grouping.cu(7): error"),
        (
            "pycuda",
            "pycuda: the kernels cannot be compiled: nvcc failed; put the CUDA toolkit's nvcc on the PATH",
        ),
    ],
    indirect=["library"],
)
def test_compilers_that_refuse(
    library: str, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    install_compilers(
        monkeypatch, refusal="grouping.cu(7): error\nmore", by_nvcc=CompileError("nvcc failed\nmore")
    )
    device = open_device(library=library)
    with pytest.raises(BackendError) as caught:
        device.driver.compile("source", (8, 7))
    assert str(caught.value) == wanted
    assert not isinstance(caught.value, DeviceError)
    assert sys.modules["cuda.bindings.nvrtc"].programs == []
    device.close()
    gpu.check()


@pytest.mark.parametrize(
    ("library", "wanted"),
    [
        ("cuda-python", "NVRTC: not installed; install the CUDA toolkit, or: pip install nvidia-cuda-nvrtc"),
        ("pycuda", "pycuda: the kernels cannot be compiled: import of pycuda.compiler halted"),
    ],
    indirect=["library"],
)
def test_missing_compilers(library: str, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    for name in ("cuda.bindings.nvrtc", "pycuda.compiler"):
        monkeypatch.setitem(sys.modules, name, None)
    device = open_device(library=library)
    with pytest.raises(BackendError) as caught:
        device.driver.compile("source", (8, 7))
    assert str(caught.value).startswith(wanted)
    device.close()
    gpu.check()


def test_bindings_without_the_library_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda-python looks for NVRTC when it is called first."""
    install_compilers(monkeypatch)

    def absent() -> None:
        raise RuntimeError("Failure finding libnvrtc.so\nmore")

    monkeypatch.setattr(sys.modules["cuda.bindings.nvrtc"], "nvrtcVersion", absent)
    with pytest.raises(
        BackendError, match=r"NVRTC: not installed \(RuntimeError\); install the CUDA toolkit"
    ):
        compile_source("source", (8, 7))


def test_full_memory_is_no_broken_device(library: str, gpu: FakeGpu) -> None:
    device = open_device(library=library)
    gpu.fail_at, gpu.fail_with = len(gpu.calls) + 2, NO_MEMORY
    with device.current(), pytest.raises(BackendError, match="take a smaller batch") as caught:
        device.buffer(64)
    assert not isinstance(caught.value, DeviceError)
    cuda_contract.round_trip(device)
    device.close()
    gpu.check()


def test_missing_driver_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda.bindings.driver", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        BackendError, match="cuda-python: not installed; pycuda: not installed; install the NV"
    ) as e:
        open_device()
    assert e.value.exit_code == 3
    assert "\n" not in str(e.value)


def test_driver_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda-python says so when it is called first, with an exception of its own."""
    module = cuda_python(FakeGpu())

    def no_driver(_flags: int) -> None:
        raise RuntimeError("Failure finding libcuda.so\nmore")

    monkeypatch.setattr(module, "cuInit", no_driver)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", module)
    with pytest.raises(BackendError, match=r"no NVIDIA driver, libcuda cannot be loaded \(RuntimeError\)"):
        open_device(library="cuda-python")


def test_pycuda_takes_over_where_cuda_python_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", pycuda(gpu))
    device = open_device()
    assert device.driver.name == "pycuda"
    device.close()
    gpu.check()


DRIVER = Path("/proc/driver/nvidia").exists() or Path("/dev/nvhost-gpu").exists()


@pytest.mark.skipif(DRIVER, reason="there is a driver: tests/gpu")
def test_real_cuda_python_without_a_driver() -> None:
    """The library itself, if it is installed: an error and no crash."""
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    with pytest.raises(BackendError, match="GPU: cuda-python: ") as caught:
        open_device(library="cuda-python")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(DRIVER, reason="there is a driver: tests/gpu")
def test_real_cuda_python_takes_these_arguments() -> None:
    """It converts arguments before it looks for the driver, so a wrong type would be a TypeError."""
    real = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-python")
    driver = object.__new__(CudaPython)
    driver._cu, driver._device, driver._context = real, real.CUdevice(0), real.CUcontext(0)
    stream, memory, event = real.CUstream(0), real.CUdeviceptr(0), real.CUevent(0)
    data = np.zeros(8, np.uint8)
    graph = (real.CUgraph(0), real.CUgraphExec(0))
    module, kernel = real.CUmodule(0), Kernel("name", 2, 32, 64, (np.uint64(8), np.int32(9)))
    launch = ("cuLaunchKernel", real.CUfunction(0), 2, 1, 1, 32, 1, 1, 64)
    assert (driver.stream_number(stream), driver.address(memory)) == (0, 0)
    calls: list[Callable[[], object]] = [
        driver.attributes,
        driver.push,
        driver.pop,
        driver.release,
        driver.create_stream,
        lambda: driver.destroy_stream(stream),
        lambda: driver.synchronise(stream),
        lambda: driver.allocate(8),
        lambda: driver.free(memory),
        lambda: driver.allocate_host(8, True),
        lambda: driver.free_host(1234),
        lambda: driver.host_address(1234),
        lambda: driver.copy_in(memory, data, stream),
        lambda: driver.copy_out(data, memory, stream),
        driver.create_event,
        lambda: driver.destroy_event(event),
        lambda: driver.record(event, stream),
        lambda: driver.elapsed_ms(event, event),
        lambda: driver.begin_capture(stream),
        lambda: driver.end_capture(stream),
        lambda: driver._call("cuGraphInstantiate", graph[0], 0),
        lambda: driver.launch(graph, stream),
        lambda: driver.destroy_graph(graph),
        lambda: driver.load_module(b"code"),
        lambda: driver.unload_module(module),
        lambda: driver.run_kernel(module, kernel, stream),
        lambda: driver._call(*launch, stream, ((8, 9), (ctypes.c_uint64, ctypes.c_int32)), 0),
    ]
    for call in calls:
        with pytest.raises(Exception, match=r"(?i)driver library|libcuda|Failed to dlopen") as caught:
            call()
        assert not isinstance(caught.value, TypeError)
