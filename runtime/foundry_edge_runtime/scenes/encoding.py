"""A grouped scene to features, a part at a time; equal to the student on the whole sequence.

tokens = tokenizer and local mixing, window by window; assignment and sums, run by run; the encoder on the s
SuperTokens; features = restored tokens, run by run, in the place of the tokens (Foundry, section 3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping import SceneGroups
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.scenes.plan import Chunks
from foundry_edge_runtime.scenes.windows import stacked, windows

OnProgress = Callable[[str, int, int], None]


class Runs(Protocol):
    """What runs a stage (`Stages`, or the torch modules in tests)."""

    def run(self, stage: str, *inputs: FloatArray) -> list[FloatArray]:
        """Outputs of a stage."""
        ...


@dataclass(frozen=True, eq=False)
class Encoded:
    """A scene's features.

    Attributes:
        tokens: (c, d) float32, one feature for each group, in FPS order.
        pooled: (2d,) float32, mean and maximum over the tokens.
        supertoken: (c,) int64, which SuperToken each group went to.
        windows: how many windows the groups were mixed in.
        stages_ms: time of each stage.
    """

    tokens: FloatArray
    pooled: FloatArray
    supertoken: npt.NDArray[np.int64]
    windows: int
    stages_ms: dict[str, float]


def encode_scene(
    stages: Runs,
    grouped: SceneGroups,
    scale: float,
    count: int,
    window: int,
    width: int,
    chunks: Chunks,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Encoded:
    """Encode c groups with s SuperTokens.

    Args:
        stages: runs the graphs.
        grouped: c groups; centres in the unit ball.
        scale: what the groups' coordinates are multiplied by.
        count: s, at most c.
        window: W, groups in a window at most.
        width: d.
        chunks: how much to give to a stage at once.
        on_progress: told (stage, groups done, groups in all).

    Raises:
        BackendError: a stage failed.
    """
    clock = _Clock()
    with clock.stage("tokens"):
        tokens, number = _tokens(stages, grouped, scale, window, width, chunks, on_progress)
    centers = grouped.centers
    with clock.stage("assign"):
        sums, routes = _assigned(stages, tokens, centers, count, chunks.tokens, on_progress)
    with clock.stage("encode"):
        (returned,) = stages.run("encode", *sums)
    with clock.stage("restore"):
        for rows in _runs(len(tokens), chunks.tokens):
            (tokens[rows],) = stages.run("restore", tokens[rows], centers[rows], routes[rows], returned)
            on_progress("restore", rows.stop, len(tokens))
    pooled = np.concatenate([tokens.mean(axis=0, dtype=np.float64), tokens.max(axis=0)]).astype(np.float32)
    return Encoded(tokens, pooled, routes.argmax(axis=1), number, clock.taken_ms)


def _tokens(
    stages: Runs,
    grouped: SceneGroups,
    scale: float,
    window: int,
    width: int,
    chunks: Chunks,
    on_progress: OnProgress,
) -> tuple[FloatArray, int]:
    """Tokens (c, d) in FPS order, and the number of windows."""
    centers = grouped.centers
    tokens = np.empty((len(grouped), width), dtype=np.float32)
    parts, done = windows(centers, window), 0
    for rows in stacked(parts, chunks.windows):
        groups = grouped.points[grouped.neighbour_index[rows]]
        groups -= centers[rows][:, :, None]
        groups *= np.float32(scale)
        (tokens[rows],) = stages.run("tokens", groups, centers[rows])
        done += rows.size
        on_progress("tokens", done, len(grouped))
    return tokens, len(parts)


def _assigned(
    stages: Runs, tokens: FloatArray, centers: FloatArray, count: int, run: int, on_progress: OnProgress
) -> tuple[list[FloatArray], FloatArray]:
    """Sums of tokens and positions (s, d) and sizes (s, 1) over all runs, and the routes (c, s)."""
    anchors = tokens[:count].copy(), centers[:count].copy()
    routes = np.empty((len(tokens), count), dtype=np.float32)
    totals: list[npt.NDArray[np.float64]] = []
    for rows in _runs(len(tokens), run):
        *parts, routes[rows] = stages.run("assign", tokens[rows], centers[rows], *anchors)
        sums = [part.astype(np.float64) for part in parts]
        totals = [total + part for total, part in zip(totals, sums, strict=True)] if totals else sums
        on_progress("assign", rows.stop, len(tokens))
    return [total.astype(np.float32) for total in totals], routes


def _runs(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


class _Clock:
    """Time of each stage in ms."""

    def __init__(self) -> None:
        self.taken_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.taken_ms[name] = (time.perf_counter() - started) * 1e3
