"""What every implementation of the driver interface must do, on fakes and on a GPU where there is one."""

from __future__ import annotations

import threading

import numpy as np

from foundry_edge_runtime.backends.cuda import (
    Arena,
    Device,
    GroupingKernels,
    SampledPoints,
    Stream,
    open_grouping,
)
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing, group_prepared
from tests.grouping.clouds import MAKERS, cloud

SPEC = Preprocessing(points=96, groups=10, group_size=12)


def round_trip(device: Device, size: int = 1000) -> None:
    """Bytes go to the device and come back."""
    rng = np.random.default_rng(size)
    with device.current():
        stream, memory = device.stream(), device.buffer(size)
        there, back = device.host_buffer(size), device.host_buffer(size)
        assert there.data.shape == (size,)
        assert memory.address
        assert stream.number
        for _ in range(3):
            there.data[:] = rng.integers(0, 256, size, np.uint8)
            stream.copy_in(memory, there)
            stream.copy_out(back, memory)
            stream.synchronise()
            np.testing.assert_array_equal(back.data, there.data)


def mapped_memory_has_an_address(device: Device) -> None:
    """Mapped host memory is seen by the device."""
    with device.current():
        assert device.host_buffer(64, mapped=True).address
        assert device.host_buffer(64).address == 0


def events_tell_the_time(device: Device) -> None:
    """Marks are in the order of the stream."""
    with device.current():
        stream, memory, host = device.stream(), device.buffer(1 << 16), device.host_buffer(1 << 16)
        start, middle, end = device.event(), device.event(), device.event()
        start.record(stream)
        stream.copy_in(memory, host)
        middle.record(stream)
        stream.copy_out(host, memory)
        end.record(stream)
        stream.synchronise()
        assert 0 < middle.since_ms(start) <= end.since_ms(start)


def captured_work_is_done_when_launched(device: Device) -> None:
    """A graph does with each launch what was noted once, and nothing while it is noted."""
    with device.current():
        stream, memory = device.stream(), device.buffer(16)
        there, back = device.host_buffer(16), device.host_buffer(16)
        there.data[:], back.data[:] = 1, 0

        def work() -> None:
            stream.copy_in(memory, there)
            stream.copy_out(back, memory)

        graph = stream.capture(work)
        stream.synchronise()
        assert not back.data.any()
        for value in (3, 4):
            there.data[:] = value
            stream.launch(graph)
            stream.synchronise()
            assert (back.data == value).all()
        graph.close()


def kernels_group_as_the_cpu_does(device: Device) -> None:
    """By the check that every engine makes when it is loaded."""
    with device.current():
        found = open_grouping(device, SPEC)
        if found.kernels is None:
            raise BackendError(found.reason)
        found.kernels.close()


def kernels_group_every_kind_of_cloud(device: Device, spec: Preprocessing = SPEC) -> None:
    """Groups and centres of a batch are those of the CPU, to the bit."""
    clouds = np.stack([cloud(kind, spec.points) for kind in MAKERS])
    with device.current():
        stream = device.stream()
        points, results = _grouping(device, spec, len(clouds))
        _bring(points, clouds, stream)
        points.work(stream)
        results.copy_out(stream)
        stream.synchronise()
        _check_groups(clouds, spec, results)


def captured_kernels_group_what_lies_there(device: Device) -> None:
    """A graph of both kernels groups new points with each launch."""
    with device.current():
        stream = device.stream()
        points, results = _grouping(device, SPEC, 2)

        def work() -> None:
            points.work(stream)
            results.copy_out(stream)

        graph = stream.capture(work)
        for seed in (1, 2):
            clouds = np.stack([cloud(kind, SPEC.points, seed) for kind in ("random", "tied")])
            _bring(points, clouds, stream)
            stream.launch(graph)
            stream.synchronise()
            _check_groups(clouds, SPEC, results)


def _grouping(device: Device, spec: Preprocessing, count: int) -> tuple[SampledPoints, Arena]:
    shapes = {"groups": (count, spec.groups, spec.group_size, 3), "centers": (count, spec.groups, 3)}
    results = Arena(device, shapes)
    return SampledPoints(device, GroupingKernels(device, spec), count, results.addresses), results


def _bring(points: SampledPoints, clouds: np.ndarray, stream: Stream) -> None:
    assert points.fill({"points": clouds}) == len(clouds)
    points.copy_in(stream)


def _check_groups(clouds: np.ndarray, spec: Preprocessing, results: Arena) -> None:
    for row, one in enumerate(clouds):
        expected = group_prepared(one, spec)
        np.testing.assert_array_equal(results.views["groups"][row], expected.groups)
        np.testing.assert_array_equal(results.views["centers"][row], expected.centers)


def threads_do_not_meet(device: Device) -> None:
    """Each thread makes the context current for itself."""
    failures: list[BaseException] = []

    def work(size: int) -> None:
        try:
            for _ in range(5):
                round_trip(device, size)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(size,)) for size in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
