"""The contract of the driver interface on the real libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from foundry_edge_runtime.backends.cuda import Device, open_device
from foundry_edge_runtime.backends.cuda.grouping import POINTS
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing
from tests.runtime import cuda_contract


@pytest.fixture(params=["cuda-python", "pycuda"])
def device(request: pytest.FixtureRequest, gpu: str) -> Iterator[Device]:
    module = "cuda.bindings.driver" if request.param == "cuda-python" else "pycuda.driver"
    pytest.importorskip(module, exc_type=ImportError)
    found = open_device(library=request.param)
    yield found
    found.close()


@pytest.mark.parametrize(
    "promise",
    [
        cuda_contract.round_trip,
        cuda_contract.mapped_memory_has_an_address,
        cuda_contract.events_tell_the_time,
        cuda_contract.threads_do_not_meet,
    ],
)
def test_contract(device: Device, promise: Callable[[Device], None]) -> None:
    promise(device)


@pytest.mark.parametrize(
    "spec",
    [
        Preprocessing(),
        Preprocessing(points=1, groups=3, group_size=1),
        Preprocessing(points=65, groups=70, group_size=33),
        Preprocessing(points=POINTS, groups=256, group_size=48),
    ],
)
def test_kernels_group_as_the_cpu_does(device: Device, spec: Preprocessing) -> None:
    needs_kernel_compiler(device)
    cuda_contract.kernels_group_as_the_cpu_does(device)
    cuda_contract.kernels_group_every_kind_of_cloud(device, spec)


def test_graphs_of_kernels(device: Device) -> None:
    needs_kernel_compiler(device)
    if not device.driver.can_capture:
        pytest.skip(f"{device.driver.name} has no calls for CUDA graphs")
    cuda_contract.captured_kernels_group_what_lies_there(device)


def needs_kernel_compiler(device: Device) -> None:
    """Skip where NVRTC, or nvcc for pycuda, is missing or does not know this GPU."""
    try:
        device.driver.compile('extern "C" __global__ void nothing() {}', device.attributes.compute_capability)
    except BackendError as error:
        pytest.skip(str(error))


def test_graphs(device: Device) -> None:
    if not device.driver.can_capture:
        pytest.skip(f"{device.driver.name} has no calls for CUDA graphs")
    cuda_contract.captured_work_is_done_when_launched(device)


def test_attributes(device: Device, gpu: str) -> None:
    found = device.attributes
    assert found.name in gpu
    assert found.compute_capability >= (5, 0)
    assert found.memory > 1 << 30
    assert found.driver >= 12000


def test_opened_again_and_again(gpu: str) -> None:
    """Nothing is left behind: each opening starts from the same state."""
    for _ in range(20):
        one = open_device()
        cuda_contract.round_trip(one, 1 << 20)
        one.close()
