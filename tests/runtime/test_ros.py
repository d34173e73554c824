"""The ROS 2 node, with a ROS that is none."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.errors import EnvironmentFault, InputError, ScanError
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run, scans_of
from foundry_edge_runtime.streams.ros import cloud_from

POINTS = np.random.default_rng(4).normal(size=(70, 3)).astype("<f4")


class FakeRos(ModuleType):
    """Just what the node asks of rclpy: one subscription, and messages that a test publishes."""

    def __init__(self) -> None:
        super().__init__("rclpy")
        self.log: list[str] = []
        self.running = False
        self.pending: list[Any] = []
        self.take: Callable[[Any], None] | None = None

    def ok(self) -> bool:
        return self.running

    def init(self) -> None:
        self.running = True
        self.log.append("init")

    def shutdown(self) -> None:
        self.running = False
        self.log.append("shutdown")

    def create_node(self, name: str) -> Any:
        self.log.append(f"node {name}")
        return self

    def create_subscription(self, kind: object, topic: str, take: Callable[[Any], None], qos: object) -> None:
        self.log.append(f"subscribe {topic} {kind} {qos}")
        self.take = take

    def spin_once(self, node: object, timeout_sec: float) -> None:
        if self.pending:
            assert self.take is not None
            self.take(self.pending.pop(0))
        else:
            time.sleep(0.005)

    def destroy_node(self) -> None:
        self.log.append("destroy")


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> FakeRos:
    fake = FakeRos()
    messages, qos = ModuleType("sensor_msgs.msg"), ModuleType("rclpy.qos")
    messages.PointCloud2 = "PointCloud2"  # type: ignore[attr-defined]
    qos.qos_profile_sensor_data = "sensor data"  # type: ignore[attr-defined]
    for name, module in (("rclpy", fake), ("rclpy.qos", qos), ("sensor_msgs.msg", messages)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "sensor_msgs", ModuleType("sensor_msgs"))
    return fake


def message(points: np.ndarray[Any, Any] = POINTS, **changes: Any) -> Any:
    fields = [SimpleNamespace(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
    values = {
        "header": SimpleNamespace(stamp=SimpleNamespace(sec=12, nanosec=34), frame_id="lidar"),
        "height": 1,
        "width": len(points),
        "fields": fields,
        "is_bigendian": False,
        "point_step": 12,
        "row_step": 12 * len(points),
        "data": points.tobytes(),
    }
    return SimpleNamespace(**{**values, **changes})


def test_messages_of_a_topic_are_run(ros: FakeRos, bundle_folder: Path) -> None:
    ros.pending.append(message())
    with run("ros2:/lidar/points", bundle=bundle_folder) as running:
        result = next(running)
    assert isinstance(result, Result)
    assert result.as_json()["input"] == "/lidar/points@12.000000034"
    assert result.as_json()["header"] == {"stamp": {"sec": 12, "nanosec": 34}, "frame_id": "lidar"}
    np.testing.assert_allclose(result.cloud.xyz + result.cloud.origin, POINTS, atol=1e-6)
    assert ros.log[:3] == [
        "init",
        "node foundry_edge",
        "subscribe /lidar/points PointCloud2 sensor data",
    ]
    _until(lambda: ros.log[3:] == ["destroy", "shutdown"])


def test_ros_that_shuts_down_ends_the_stream(ros: FakeRos, bundle_folder: Path) -> None:
    running = run("ros2:/points", bundle=bundle_folder)
    threading.Timer(0.05, ros.shutdown).start()
    assert list(running) == []
    assert running.counts.received == 0


def test_ros_that_was_running_is_left_running(ros: FakeRos) -> None:
    ros.running = True
    queue = scans_of("ros2:/points").live
    assert queue is not None
    queue.close()
    _until(lambda: "destroy" in ros.log)
    assert ros.running
    assert "init" not in ros.log


def test_message_that_contradicts_itself() -> None:
    with pytest.raises(
        ScanError, match=r"/p: truncated scan: .* need 1200 bytes of data, the message has 840"
    ):
        cloud_from(message(width=100), "/p")


def test_without_ros_and_with_a_wrong_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(EnvironmentFault, match=r"needs ROS 2.*source the setup\.bash"):
        scans_of("ros2:/points")
    with pytest.raises(InputError, match=r"^ros2:points: is no topic; write e\.g\. ros2:/points"):
        scans_of("ros2:points")


def _until(true: Callable[[], bool]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it did not come true within 2 s")
