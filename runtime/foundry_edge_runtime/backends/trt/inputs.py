"""How the inputs of an engine come to the device: as groups of the host, or as points grouped there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from foundry_edge_runtime.backends.cuda import Arena, Stream
from foundry_edge_runtime.pointcloud import FloatArray


class Inputs(Protocol):
    """Inputs of one batch size: `HostGroups`, or `SampledPoints`.

    Attributes:
        addresses: where the engine finds ``groups`` and ``centers``.
    """

    addresses: Mapping[str, int]

    def fill(self, inputs: Mapping[str, FloatArray]) -> int:
        """Put clouds in; returns how many."""

    def copy_in(self, stream: Stream) -> None:
        """Begin to bring them to the device."""

    def work(self, stream: Stream) -> None:
        """Begin what is to be done between copy and engine; can be captured."""

    def close(self) -> None:
        """Free both sides."""


class HostGroups(Arena):
    """Groups and centres that the host has made; see `Inputs`."""

    def fill(self, inputs: Mapping[str, FloatArray]) -> int:
        """See `Inputs.fill`."""
        rows = 0
        for name, view in self.views.items():
            rows = len(inputs[name])
            view[:rows] = inputs[name]
        return rows

    def work(self, stream: Stream) -> None:
        """Nothing is left to do."""
