"""How much of a scene to give to each stage at once, so that the process keeps within its memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foundry_edge_runtime.bundle.manifest import Manifest, Scene
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping.compiled import compiled

MEBI = float(1 << 20)
_COMPILED_BYTES, _NUMPY_BYTES = 96, 112
"""Workspace of the two forms of grouping for each point, results included; measured up to 80 and 106."""
_CROWDED_BYTES, _CROWDED_MOST = 220, 56 << 20
"""What the NumPy form takes beside that for each point, and at most, where many points lie close together."""
SPARE = 1.5
"""What ONNX Runtime takes for a call, relative to the tensors alive at once; measured up to 1.45."""
SLACK_MB = 16.0
"""What libraries, fragments and the rest of the program may take beside what is counted."""
_MOST = 4
"""Windows in a call at most; more would need memory and save no time."""
_RUN = (64, 4096)
"""Tokens in a call, at least and at most."""


@dataclass(frozen=True)
class Chunks:
    """How much is given to a stage at once.

    Attributes:
        windows: of the stage ``tokens``, each at most W groups.
        tokens: of the stages ``assign`` and ``restore``.
    """

    windows: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """Chunk sizes, and the peak memory of the process that they lead to, in MiB."""

    chunks: Chunks
    expected_mb: float


@dataclass(frozen=True)
class Size:
    """How large a scene is: N points in c groups, merged into s SuperTokens."""

    points: int
    groups: int
    supertokens: int


def plan(manifest: Manifest, scene: Scene, size: Size, now_mb: float, limit_mb: float | None) -> Plan:
    """The largest chunks that keep within the limit; large enough ones without a limit.

    Args:
        manifest: gives K and d.
        scene: gives W, and what a group and a token need.
        size: of the scene.
        now_mb: resident memory of the process before grouping, engines and points included.
        limit_mb: highest peak of the process.

    Raises:
        InputError: even the smallest chunks do not fit; the message says what would be needed.
    """
    plans = [_plan(manifest, scene, size, now_mb, windows) for windows in range(_MOST, 0, -1)]
    if limit_mb is None:
        return plans[0]
    fitting = [one for one in plans if one.expected_mb <= limit_mb]
    if not fitting:
        raise InputError(
            f"--max-memory-mb is {limit_mb:g}, a scene of {size.points} points needs "
            f"{math.ceil(plans[-1].expected_mb)} MiB (the process has {now_mb:.0f} MiB already)",
            remedy=f"raise it to {math.ceil(plans[-1].expected_mb)}, or thin the scan out",
        )
    return fitting[0]


def _plan(manifest: Manifest, scene: Scene, size: Size, now_mb: float, windows: int) -> Plan:
    workspace = windows * min(scene.window, size.groups) * scene.group_bytes
    run = min(max(workspace // scene.token_bytes, _RUN[0]), _RUN[1])
    spec = manifest.preprocessing
    per_group = 4 * manifest.width + 4 * size.supertokens + 8 * spec.group_size + 48
    held = 12 * size.points + per_group * size.groups
    call = SPARE * max(workspace, run * scene.token_bytes)
    peak = max(grouping_bytes(size.points), held + call)
    return Plan(Chunks(windows, run), now_mb + SLACK_MB + peak / MEBI)


def grouping_bytes(points: int) -> int:
    """Workspace of grouping, in the form that serves in this process."""
    if compiled() is not None:
        return _COMPILED_BYTES * points
    return _NUMPY_BYTES * points + min(_CROWDED_BYTES * points, _CROWDED_MOST)
