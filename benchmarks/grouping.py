"""Grouping in every form, taking turns: NumPy, machine code, and a plain batched torch form.

    python -m benchmarks.grouping              # objects and scenes; about 6 quiet minutes
    python -m benchmarks.grouping --quick      # a first look, seconds

Objects: FPS, neighbours and gathering of prepared clouds of 1024 points, 64 groups of 32, one thread; for
torch the same on one batch. Scenes: everything from raw points to indices, one group for every 32 points,
with all threads; torch only up to 10k points, beyond which it takes seconds. Indices of all our forms are
compared, exactly. Writes results/grouping.json. Exit code 1 when the forms differ, or a target is missed:
0.5 ms for a cloud, and 4 times torch on 32.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparing.interleaved import figures, interleave
from benchmarks.measured import keep
from foundry_edge_runtime.grouping import (
    Preprocessing,
    accelerate,
    compiled,
    group,
    group_indices,
    group_scene,
    prepare,
    scene,
)
from foundry_edge_runtime.pointcloud import FloatArray

OBJECT_MS, TORCH_RATIO = 0.5, 4.0
MOST_FOR_TORCH = 10_000


def torch_grouping(clouds: Tensor, groups: int, size: int) -> tuple[Tensor, Tensor]:
    """FPS, neighbours and gathering of clouds (B, N, 3), as most code has them: a loop, cdist and topk."""
    count = torch.arange(len(clouds))
    chosen = torch.empty(len(clouds), groups, dtype=torch.long)
    nearest = torch.full(clouds.shape[:2], float("inf"))
    farthest = ((clouds - clouds.mean(dim=1, keepdim=True)) ** 2).sum(dim=-1).argmax(dim=1)
    for place in range(groups):
        chosen[:, place] = farthest
        distance = ((clouds - clouds[count, farthest][:, None]) ** 2).sum(dim=-1)
        nearest = torch.minimum(nearest, distance)
        farthest = nearest.argmax(dim=1)
    centers = clouds[count[:, None], chosen]
    near = torch.cdist(centers, clouds).topk(size, largest=False).indices
    return clouds[count[:, None, None], near] - centers[:, :, None], centers


@contextmanager
def form(name: str) -> Iterator[None]:
    """Let one of our forms serve."""
    wanted = compiled.compiled() if name == "compiled" else None
    homes: tuple[Any, ...] = (group, scene)
    for home in homes:
        home.compiled = lambda: wanted
    try:
        yield
    finally:
        for home in homes:
            home.compiled = compiled.compiled


def ours(name: str, clouds: list[FloatArray], spec: Preprocessing) -> list[FloatArray]:
    """Groups of prepared clouds in one of our forms."""
    found = []
    with form(name):
        for points in clouds:
            centres, neighbours = group_indices(points, spec)
            groups = points.take(neighbours, axis=0)
            groups -= points.take(centres, axis=0)[:, None]
            found.append(groups)
    return found


def object_turns(batch: int, spec: Preprocessing, names: list[str]) -> dict[str, Callable[[], object]]:
    """What takes turns on objects.

    Raises:
        RuntimeError: two of our forms give other groups.
    """
    rng = np.random.default_rng(batch)
    clouds = [prepare(rng.normal(size=(4 * spec.points, 3)).astype(np.float32), spec) for _ in range(batch)]
    first, *others = (ours(name, clouds, spec) for name in names)
    for other in others:
        if not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True)):
            raise RuntimeError("the forms of grouping give different groups")
    turns: dict[str, Callable[[], object]] = {name: partial(ours, name, clouds, spec) for name in names}
    whole = torch.from_numpy(np.stack(clouds))
    turns["torch"] = partial(torch_grouping, whole, spec.groups, spec.group_size)
    return turns


def scene_turns(count: int, names: list[str]) -> dict[str, Callable[[], object]]:
    """What takes turns on a scene: a hall of `benchmarks.scene`; errors as those of `object_turns`."""
    from benchmarks.scene import room

    points = room(count)

    def run(name: str) -> Any:
        with form(name):
            return group_scene(points, count // 32, 32)

    first, *others = (run(name) for name in names)
    if any(not np.array_equal(first.neighbour_index, other.neighbour_index) for other in others):
        raise RuntimeError("the forms of grouping give different groups")
    turns: dict[str, Callable[[], object]] = {name: partial(run, name) for name in names}
    if count <= MOST_FOR_TORCH:
        turns["torch"] = partial(torch_grouping, torch.from_numpy(points)[None], count // 32, 32)
    return turns


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of all workloads."""
    torch.set_num_threads(1)
    path = accelerate()
    print(f"{path.name}: {path.detail}", flush=True)
    names = ["numpy", "compiled"] if path.name == "compiled" else ["numpy"]
    spec = Preprocessing(points=128, groups=8, group_size=8) if options.quick else Preprocessing()
    rows = []
    for batch in options.batches:
        workload = f"{batch} x {spec.points} points"
        rows += _rows(workload, interleave(object_turns(batch, spec, names), options.seconds, 5))
    for count in options.scenes:
        seconds = 0 if count > 100_000 else options.seconds
        rows += _rows(f"scene of {count} points", interleave(scene_turns(count, names), seconds, 1))
    return rows


def _rows(workload: str, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    base = min(times["torch"]) if "torch" in times else None
    rows = []
    for name, taken in times.items():
        ratio = None if base is None else round(base / min(taken), 2)
        rows.append({"workload": workload, "name": name, **figures(taken), "ratio_to_torch": ratio})
        shown = "" if ratio is None else f"{ratio:8.2f}x torch"
        print(f"{workload:28}{name:10}{rows[-1]['ms_min']:12.3f} ms{shown}", flush=True)
    return rows


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Targets that the machine code does not reach."""
    mine = {row["workload"]: row for row in rows if row["name"] == "compiled"}
    one, many = mine.get("1 x 1024 points"), mine.get("32 x 1024 points")
    found = []
    if one is not None and one["ms_min"] > OBJECT_MS:
        found.append(f"one cloud takes {one['ms_min']} ms")
    if many is not None and many["ratio_to_torch"] < TORCH_RATIO:
        found.append(f"32 clouds are {many['ratio_to_torch']} times as fast as torch")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny clouds; nothing is written but --out")
    parser.add_argument("--batches", type=_numbers, default=(1, 32))
    parser.add_argument("--scenes", type=_numbers, default=(1_000, 10_000, 100_000, 300_000, 1_000_000))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each workload")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    if options.quick:
        options.scenes = (500,)
    rows = measure(options)
    record = {"command": " ".join(["python -m benchmarks.grouping", *sys.argv[1:]]), "rows": rows}
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if options.quick or options.out is not None:
        return 0
    keep("grouping", record)
    for problem in missed(rows):
        print(f"missed: {problem}")
    return int(bool(missed(rows)))


if __name__ == "__main__":
    raise SystemExit(main())
