"""Sources of streams: queue of a live source, watched folder, bag; and what stops a stream."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scan_samples as samples
from foundry_edge_runtime.errors import InputError, ScanError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import Running, Scans, run
from foundry_edge_runtime.streams.items import Item
from foundry_edge_runtime.streams.queue import LiveQueue
from foundry_edge_runtime.streams.watch import watch

RNG = np.random.default_rng(3)


def item(name: str) -> Item:
    return Item(name, load=lambda: as_cloud(RNG.normal(size=(50, 3))))


def counts(running: Running) -> tuple[int, int, int, int]:
    found = running.counts
    assert found.received == found.done + found.failed + found.dropped
    return found.received, found.done, found.failed, found.dropped


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_queue_counts_and_keeps_the_newest(puts: list[bool], depth: int) -> None:
    """True puts, False takes: what is taken or waits is in order, and nothing is lost uncounted."""
    queue, taken, put = LiveQueue(depth), [], 0
    reader = iter(queue)
    for is_put in puts:
        if is_put:
            queue.put(Item(str(put)))
            put += 1
        elif len(queue):
            got = next(reader)
            assert got is not None
            taken.append(int(got.name))
    assert len(queue) <= depth
    waiting = len(queue)
    queue.finish()
    rest = [int(one.name) for one in reader if one is not None]
    assert rest == list(range(put - waiting, put))
    assert taken == sorted(taken)
    assert queue.received == put == len(taken) + len(rest) + queue.dropped


def test_closed_queue_drops_what_waits_and_what_comes() -> None:
    queue = LiveQueue(3)
    for name in "abcd":
        queue.put(Item(name))
    queue.close()
    queue.put(Item("e"))
    assert list(queue) == []
    assert (queue.received, queue.dropped) == (5, 5)
    with pytest.raises(InputError, match="at least 1"):
        LiveQueue(0)


def test_live_source_drops_and_counts(bundle_folder: Path) -> None:
    queue = LiveQueue(2)
    for number in range(10):
        queue.put(item(str(number)))
    queue.put(Item("bad", load=lambda: as_cloud(np.zeros((0, 3)))))
    queue.finish()
    running = run(Scans(queue, many=True, live=queue), bundle=bundle_folder)
    assert [type(one) for one in running] == [Result, Failure]
    assert counts(running) == (11, 1, 1, 9)


def test_live_source_that_is_stopped_counts_what_it_held(bundle_folder: Path) -> None:
    queue = LiveQueue(4)
    for number in range(4):
        queue.put(item(str(number)))
    with run(Scans(queue, many=True, live=queue), bundle=bundle_folder) as running:
        next(running)
        running.stop()
        assert list(running) == []
    assert counts(running) == (4, 1, 0, 3)


def test_source_that_has_nothing_does_not_hold_a_stop_up(bundle_folder: Path) -> None:
    queue = LiveQueue()
    running = run(Scans(queue, many=True, live=queue), bundle=bundle_folder)
    assert running.poll() is None
    threading.Timer(0.1, running.stop).start()
    started = time.monotonic()
    assert list(running) == []
    assert time.monotonic() - started < 2


def test_watch_gives_each_whole_file_once_and_changed_ones_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.normal(size=(20, 3)))
    looks = watch(tmp_path, seconds=0.001)
    assert next(looks) is None  # seen once: it may still be written
    assert _names(looks) == ["a.npy"]
    assert [next(looks) for _ in range(3)] == [None] * 3
    with (tmp_path / "b.npy").open("wb") as growing:
        growing.write(b"\x93NUMPY")
        growing.flush()
        assert next(looks) is None
        growing.write(b"more")
        growing.flush()
        assert next(looks) is None  # it grew since the last look
    assert _names(looks) == ["b.npy"]
    np.save(tmp_path / "a.npy", RNG.normal(size=(30, 3)))
    assert _names(looks) == ["a.npy"]
    (tmp_path / "a.npy").unlink()
    assert [next(looks) for _ in range(3)] == [None] * 3


def _names(looks: object) -> list[str]:
    """The next scans, in one look."""
    for _ in range(4):
        found = next(looks)  # type: ignore[call-overload]
        if found is not None:
            return [Path(found.name).name]
    return []


def test_watch_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--watch needs a folder"):
        watch(tmp_path / "none")


def test_watched_folder_is_run_until_stopped(tmp_path: Path, bundle_folder: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    np.save(folder / "a.npy", RNG.normal(size=(20, 3)))
    with run(folder, bundle=bundle_folder, watch=True) as running:
        first = next(running)
        np.save(folder / "b.npy", RNG.normal(size=(20, 3)))
        second = next(running)
        assert isinstance(first, Result)
        assert isinstance(second, Result)
        assert Path(second.cloud.source).name == "b.npy"
        running.stop()
        assert list(running) == []
    assert counts(running) == (2, 2, 0, 0)


def bag(topics: list[str], damaged: int | None = None) -> bytes:
    """A bag without chunks, with one message for each entry of ``topics``."""
    record, text = samples._record, samples._text
    data = b"\x89MCAP0\r\n" + record(1, text("ros2") + text("samples"))
    data += record(3, struct.pack("<H", 1) + text("sensor_msgs/msg/PointCloud2") + text("ros2msg") + text(""))
    known = sorted(set(topics))
    for number, topic in enumerate(known):
        data += record(4, struct.pack("<HH", number, 1) + text(topic) + text("cdr") + struct.pack("<I", 0))
    for number, topic in enumerate(topics):
        head = struct.pack("<HIQQ", known.index(topic), number, number, number)
        message = samples.pointcloud2(samples.points(40, seed=number))
        data += record(5, head + (message[:-9] if number == damaged else message))
    return data + record(15, bytes(4)) + record(2, bytes(20)) + b"\x89MCAP0\r\n"


def test_bag_gives_a_result_for_each_message(tmp_path: Path, bundle_folder: Path) -> None:
    path = tmp_path / "bag.mcap"
    path.write_bytes(samples.mcap())
    running = run(path, bundle=bundle_folder, save=tmp_path / "out")
    results = [one for one in running if isinstance(one, Result)]
    assert [one.scan for one in results] == [1, 2, 3]
    assert [one.as_json()["scan"] for one in results] == [1, 2, 3]
    header = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "map"}
    assert [one.as_json()["header"] for one in results] == [header] * 3
    assert [one.as_json()["points"]["valid"] for one in results] == [40, 40, 40]
    assert len({one.pooled.tobytes() for one in results}) == 3
    assert len(list((tmp_path / "out").glob("bag.mcap-*.00000[123].npz"))) == 3
    assert counts(running) == (3, 3, 0, 0)


def test_topic_of_a_bag(tmp_path: Path, bundle_folder: Path) -> None:
    path = tmp_path / "two.mcap"
    path.write_bytes(bag(["/front", "/rear", "/front"]))
    with pytest.raises(ScanError, match=r"2 topics with point clouds; pass --topic, one of: /front, /rear"):
        list(run(path, bundle=bundle_folder))
    assert [len(list(run(path, bundle=bundle_folder, topic=name))) for name in ("/front", "/rear")] == [2, 1]


def test_damaged_message_is_one_failure(tmp_path: Path, bundle_folder: Path) -> None:
    path = tmp_path / "bag.mcap"
    path.write_bytes(bag(["/points"] * 4, damaged=1))
    running = run(path, bundle=bundle_folder)
    found = list(running)
    assert [type(one) for one in found] == [Result, Failure, Result, Result]
    assert isinstance(found[1], Failure)
    assert found[1].as_json()["scan"] == 2
    assert counts(running) == (4, 3, 1, 0)


def test_bag_that_breaks_off_gives_what_came_before(
    tmp_path: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk fails in the middle: the messages before it are results, the rest is one failure."""
    (tmp_path / "bag.mcap").write_bytes(samples.mcap())

    def breaking(*_: object) -> Iterator[tuple[int, PointCloud]]:
        for number in (1, 2):
            yield number, as_cloud(RNG.normal(size=(50, 3)))
        raise ScanError("cannot be read: Input/output error", where="bag.mcap")

    monkeypatch.setattr("foundry_edge_runtime.streams.here.read_each", breaking)
    running = run(tmp_path / "bag.mcap", bundle=bundle_folder)
    found = list(running)
    assert [type(one) for one in found] == [Result, Result, Failure]
    assert [one.scan for one in found] == [1, 2, 3]
    assert counts(running) == (3, 2, 1, 0)
