"""A live ROS 2 topic: a thin node that hands the newest PointCloud2 messages to the stream.

rclpy comes with ROS 2 itself, not from a package index, so it is imported when a topic is asked for.
"""

from __future__ import annotations

import threading
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from foundry_edge_runtime.errors import EnvironmentFault, InputError
from foundry_edge_runtime.pointcloud import Header, PointCloud
from foundry_edge_runtime.readers.pointcloud2 import PointField, cloud_of
from foundry_edge_runtime.readers.policy import finish
from foundry_edge_runtime.readers.source import from_bytes
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item
from foundry_edge_runtime.streams.queue import DEPTH, LiveQueue

NODE = "foundry_edge"


def subscribe(topic: str, *, depth: int = DEPTH) -> LiveQueue:
    """Subscribe to a topic of sensor_msgs/PointCloud2; a thread takes its messages until the queue is closed.

    Args:
        topic: its name, beginning with "/".
        depth: messages that may wait; the oldest gives way.

    Returns:
        The queue; its scans are named after the topic and the time stamp of the message.

    Raises:
        InputError: that is no name of a topic.
        EnvironmentFault: ROS 2 is not there.
    """
    if not topic.startswith("/") or len(topic) < 2:
        raise InputError("is no topic", where=f"ros2:{topic}", remedy="write e.g. ros2:/points")
    rclpy, messages, profiles = (_ros(name, topic) for name in ("rclpy", "sensor_msgs.msg", "rclpy.qos"))
    queue = LiveQueue(depth)
    started = not rclpy.ok()
    if started:
        rclpy.init()
    node = rclpy.create_node(NODE)
    take = partial(_take, queue, topic)
    node.create_subscription(messages.PointCloud2, topic, take, profiles.qos_profile_sensor_data)
    threading.Thread(target=_spin, args=(rclpy, node, queue, started), daemon=True).start()
    return queue


def cloud_from(message: Any, name: str) -> PointCloud:
    """The points of a PointCloud2 message object, judged like those of a file.

    Raises:
        ScanError: its sizes contradict its data, or no valid point is in it.
    """
    data = bytes(message.data)
    source = from_bytes(data, name)
    fields = [PointField(one.name, one.offset, one.datatype, one.count) for one in message.fields]
    shape, steps = (message.height, message.width), (message.point_step, message.row_step)
    stamp = message.header.stamp
    header = Header(stamp.sec, stamp.nanosec, message.header.frame_id)
    return finish(cloud_of(source, fields, data, shape, steps, bool(message.is_bigendian), header), source)


def _take(queue: LiveQueue, topic: str, message: Any) -> None:
    stamp = message.header.stamp
    name = f"{topic}@{stamp.sec}.{stamp.nanosec:09d}"
    queue.put(Item(name, load=partial(cloud_from, message, name)))


def _spin(rclpy: ModuleType, node: Any, queue: LiveQueue, started: bool) -> None:
    """Take messages until the queue is closed or ROS is shut down, then leave ROS as it was."""
    try:
        while rclpy.ok() and not queue.closed:
            rclpy.spin_once(node, timeout_sec=TICK_SECONDS)
    finally:
        queue.finish()
        node.destroy_node()
        if started and rclpy.ok():
            rclpy.shutdown()


def _ros(name: str, topic: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise EnvironmentFault(
            f"a live topic needs ROS 2, and {name} cannot be imported ({error})",
            where=f"ros2:{topic}",
            remedy="source the setup.bash of your ROS 2 installation, in a venv with system site packages",
        ) from None
