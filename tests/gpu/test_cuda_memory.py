"""The contract of the driver interface on the real libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from foundry_edge_runtime.backends.cuda import Device, open_device
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
