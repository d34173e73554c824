"""ROS 2 bags in MCAP form: one scan per PointCloud2 message of a topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.mcap_records import (
    CHANNEL,
    MAGIC,
    MESSAGE,
    SCHEMA,
    Cursor,
    Record,
    data_records,
    is_complete,
    summary_start,
)
from foundry_edge_runtime.readers.pointcloud2 import read_message
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import Source

_SCHEMAS = ("sensor_msgs/msg/PointCloud2", "sensor_msgs/PointCloud2")
_ENCODINGS = ("cdr", "ros1")
_MESSAGE_HEADER = 22
"""Channel, sequence number and two times."""


@dataclass
class _Bag:
    """What has been learnt of the bag so far: schemas, and channels with point clouds."""

    source: Source
    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, tuple[str, str]] = field(default_factory=dict)

    def learn(self, record: Record) -> None:
        """Take a schema or a channel."""
        cursor = Cursor(self.source, record.content, "MCAP record")
        if record.opcode == SCHEMA:
            number = cursor.integer(2)
            self.schemas[number] = cursor.text()
        elif record.opcode == CHANNEL:
            channel, schema = cursor.integer(2), cursor.integer(2)
            topic, encoding = cursor.text(), cursor.text()
            if self.schemas.get(schema) in _SCHEMAS and encoding in _ENCODINGS:
                self.channels[channel] = (topic, encoding)


def read_scans(source: Source, options: Options) -> Iterator[RawCloud | ScanError]:
    """The scans of a bag, in file order; a damaged one is given as its error.

    Raises:
        ScanError: the file is cut or corrupt, or has no such topic.
    """
    if source.read(0, min(source.size, len(MAGIC))) != MAGIC:
        raise source.error("not an MCAP file: the magic bytes are missing")
    complete = is_complete(source)
    if not complete and not options.salvage:
        raise source.error(
            "truncated: the MCAP file has no footer at its end (the recorder was cut off)",
            "run 'mcap recover', or pass --salvage to keep the whole scans",
        )
    topic = _choose(source, _topics(source, complete), options.topic)
    bag = _Bag(source)
    scans = 0
    for record in _records(source, complete):
        bag.learn(record)
        if record.opcode != MESSAGE:
            continue
        name, encoding = bag.channels.get(int.from_bytes(record.content[:2], "little"), ("", ""))
        if name == topic:
            scans += 1
            yield _scan(source, record, encoding)
    if not scans:
        raise source.error(
            f"topic {topic!r} has no messages: the bag is empty (no scans)", "choose another bag"
        )


def _scan(source: Source, record: Record, encoding: str) -> RawCloud | ScanError:
    try:
        return read_message(source, record.content[_MESSAGE_HEADER:], encoding)
    except ScanError as error:
        return error


def _records(source: Source, complete: bool) -> Iterator[Record]:
    """All records; those of a file without an end, up to where it breaks off."""
    try:
        yield from data_records(source)
    except ScanError as error:
        if complete:
            raise
        source.warn(f"{error.problem}; the scans before it were kept")
        return
    if not complete:
        source.warn("truncated: no footer at the end of the file; the whole scans were kept")


def _topics(source: Source, complete: bool) -> list[str]:
    """Topics with point clouds, from the summary where there is one, else from the whole file."""
    bag = _Bag(source)
    summary = summary_start(source) if complete else 0
    for record in data_records(source, summary) if summary else ():
        bag.learn(record)
    if not bag.channels:
        for record in _records(source, complete):
            bag.learn(record)
        source.take_warnings()  # said again when the scans are read
    return sorted({topic for topic, _ in bag.channels.values()})


def _choose(source: Source, topics: list[str], wanted: str | None) -> str:
    listed = shorten(", ".join(topics), 120)
    if not topics:
        raise source.error("the bag has no topic with sensor_msgs/PointCloud2 messages", "choose another bag")
    if wanted is not None and wanted not in topics:
        raise source.error(f"no topic {wanted!r} with point clouds", f"pass one of: {listed}")
    if wanted is None and len(topics) > 1:
        raise source.error(
            f"the bag has {len(topics)} topics with point clouds", f"pass --topic, one of: {listed}"
        )
    return wanted or topics[0]
