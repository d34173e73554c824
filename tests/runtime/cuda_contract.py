"""What every implementation of the driver interface must do, on fakes and on a GPU where there is one."""

from __future__ import annotations

import threading

import numpy as np

from foundry_edge_runtime.backends.cuda import Device


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
