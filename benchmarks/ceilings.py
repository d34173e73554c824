"""Where the time of one cloud goes: each stage against what this machine can do at most.

    python -m benchmarks.ceilings             # ViT-S; about 2 quiet minutes
    python -m benchmarks.ceilings --quick     # tiny sizes, to see that it runs

Ceilings are measured: multiply-accumulates of one large product in FP32, and bytes read from memory. A
stage's bound is the larger of its multiply-accumulates and its bytes (weights, and activations in and out,
counted by hand) over these ceilings. Stages are those of the exact rewrite in torch, batch 1. Writes
results/ceilings.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparing.contenders import example
from benchmarks.comparing.interleaved import figures, interleave
from benchmarks.measured import keep
from foundry_edge.models.config import VIT_S, VIT_TI, StudentConfig, TeacherConfig
from foundry_edge.models.macs import student_macs
from foundry_edge.models.student import Student
from foundry_edge_export.inference import InferenceStudent, upsampled
from foundry_edge_runtime.grouping import Preprocessing, accelerate, group_indices, prepare

FLOAT = 4


def ceilings(quick: bool) -> dict[str, Callable[[], object]]:
    """What shows the most this machine can do."""
    side, floats = (256, 1 << 20) if quick else (1536, 1 << 26)
    one, other = torch.rand(side, side), torch.rand(side, side)
    memory = torch.ones(floats)
    return {"product": lambda: one @ other, "read": memory.sum}


def rates(times: dict[str, list[float]], quick: bool) -> dict[str, float]:
    """Ceilings in units per second, from milliseconds of `ceilings`."""
    side, floats = (256, 1 << 20) if quick else (1536, 1 << 26)
    return {
        "product, GMACs/s": side**3 / min(times["product"]) / 1e6,
        "memory, GB/s": floats * FLOAT / min(times["read"]) / 1e6,
    }


def stages(config: TeacherConfig, count: int) -> dict[str, Callable[[], object]]:
    """The parts of a student with ``count`` SuperTokens, and grouping, each ready to run alone."""
    torch.manual_seed(0)
    student = StudentConfig(teacher=config, tokens=(count,), query="learned")
    model = InferenceStudent(Student(student), count)
    groups, centers = (torch.from_numpy(one) for one in example(config, 1))
    cloud = model.mixed(groups, centers)
    merged, places, _ = model.dso(cloud)
    points = np.random.default_rng(0).normal(size=(4 * config.preprocessing.points, 3)).astype(np.float32)
    prepared = prepare(points, config.preprocessing)
    return {
        "prepare": partial(prepare, points, config.preprocessing),
        "grouping": partial(group_indices, prepared, config.preprocessing),
        "tokenizer": partial(model.tokenizer, groups),
        "position": partial(model.position, centers),
        "dso": partial(model.dso, cloud),
        "encoder": lambda: _encoded(model, merged, places),
        "cau": partial(upsampled, model, cloud.tokens, cloud.tokens),
        "whole": lambda: model(groups, centers),
    }


def _encoded(model: InferenceStudent, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    for block in model.blocks:
        rows = block(rows + places)
    return rows


def moved(config: TeacherConfig, count: int) -> dict[str, int]:
    """Bytes that a stage must move at least, each value once: weights, inputs, outputs, FP32."""
    spec, d = config.preprocessing, config.width
    c, hidden = spec.groups, int(config.width * config.mlp_ratio)
    points, block = c * spec.group_size, 4 * d * d + 2 * d * hidden
    floats = {
        "prepare": 4 * spec.points * 3 + spec.points * 3,
        "grouping": spec.points * 3 + 2 * c * (1 + spec.group_size),  # indices have eight bytes
        "tokenizer": 3 * points + 3 * 128 + 128 * 256 + 128 * 512 + 256 * 512 + 512 * d + c * d,
        "position": 3 * c + 3 * 128 + 128 * d + c * d,
        "dso": 2 * c * d + d * count + d * d + 2 * count * d,
        "encoder": config.depth * (block + 4 * count * d),
        "cau": d * d + 2 * d * hidden + 2 * c * d,
    }
    floats["whole"] = sum(floats[name] for name in ("tokenizer", "position", "dso", "encoder", "cau"))
    return {name: FLOAT * number for name, number in floats.items()}


def operations(config: TeacherConfig, count: int) -> dict[str, int]:
    """Multiply-accumulates of each stage; of grouping those of all squared distances, none left out."""
    spec = config.preprocessing
    found = student_macs(StudentConfig(teacher=config, tokens=(count,), query="learned"), count)
    found["whole"] = sum(found.values())
    return {"prepare": 0, "grouping": 3 * spec.groups * spec.points, **found}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ceilings and stages in one interleaved run."""
    torch.set_num_threads(options.threads)
    path = accelerate()
    config, count = {"vit-s": VIT_S, "vit-ti": VIT_TI}[options.size], 16
    if options.quick:
        spec = Preprocessing(points=64, groups=8, group_size=8)
        config, count = TeacherConfig(width=24, depth=2, heads=3, preprocessing=spec), 4
    parts = stages(config, count)
    with torch.inference_mode():
        times = interleave({**ceilings(options.quick), **parts}, options.seconds, 5)
    most = rates(times, options.quick)
    macs, data = operations(config, count), moved(config, count)
    rows = []
    for stage in parts:
        compute = macs[stage] / most["product, GMACs/s"] / 1e6
        bound = max(compute, data[stage] / most["memory, GB/s"] / 1e6)
        row = {"stage": stage, "ms": figures(times[stage])["ms_min"], "macs": macs[stage]}
        rows.append({**row, "bytes": data[stage], "bound_ms": bound})
        print(f"{stage:10}{row['ms']:10.3f} ms{bound:10.3f} ms at the ceiling", flush=True)
    return {
        "command": " ".join(["python -m benchmarks.ceilings", *sys.argv[1:]]),
        "size": "tiny" if options.quick else options.size,
        "threads": options.threads,
        "grouping": vars(path),
        "ceilings": most,
        "rows": rows,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written but --out")
    parser.add_argument("--size", choices=("vit-s", "vit-ti"), default="vit-s")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    record = measure(options)
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if not (options.quick or options.out is not None):
        keep("ceilings", record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
