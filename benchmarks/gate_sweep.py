"""What Foundry-Gate's two ways of merging cost and give, in PyTorch: thresholds r, and k bypassed tokens.

    python -m benchmarks.gate_sweep --data ../shared/data --student runs/student-table/gate_...

The student is one with a gate: a run of `student_table --only gate`, or of `foundry-edge distill --gate`. A
row for each budget s and each r or k: Smooth L1 and cosine on held-out shapes, rows in the encoder and
multiply-accumulates (means over clouds), and the batch-1 latency relative to r = 0, which merges all tokens,
measured in turns in eager PyTorch. Writes benchmarks/results/gate_sweep.json, for `benchmarks.tables`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.markdown import table
from benchmarks.measured import record_of
from foundry_edge.data.shapes import load_sets
from foundry_edge.load import load_student, load_teacher, teacher_digest
from foundry_edge.measures.fidelity import fidelity
from foundry_edge.models.compressed import Reconstruction
from foundry_edge.models.macs import student_macs
from foundry_edge.models.student import Student
from foundry_edge.training.compute import Compute
from foundry_edge.training.target_cache import HELD_OUT_SHAPES, held_out_targets, split_sides
from foundry_edge.training.targets import TeacherTargets, tokens_for
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).parent / "results" / "gate_sweep.json"
THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
BYPASSED = (0, 4, 8, 16, 32, 64)
TIMED, WARM_UP = 60, 5


@dataclass(frozen=True)
class Setting:
    """One way to use the gate: a threshold r, or k tokens that bypass DSO."""

    threshold: float = 0.5
    bypassed: int | None = None

    def run(self, student: Student, tokens: Tensor, centers: Tensor, count: int) -> Reconstruction:
        """The student's reconstruction."""
        return student.reconstruct(tokens, centers, count, threshold=self.threshold, bypassed=self.bypassed)

    @property
    def named(self) -> dict[str, float | int | None]:
        """For the row."""
        return {"r": None if self.bypassed is not None else self.threshold, "k": self.bypassed}


def settings(groups: int) -> list[Setting]:
    """All that are measured; the first merges all tokens."""
    fixed = [Setting(bypassed=k) for k in BYPASSED if k <= groups]
    return [*(Setting(r) for r in THRESHOLDS), *fixed]


@torch.no_grad()
def sweep(student: Student, held_out: TeacherTargets, counts: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """A row per budget and setting."""
    ways = settings(student.config.teacher.preprocessing.groups)
    for count in counts:
        ratios = latency(student, held_out, count, ways)
        for way, ratio in zip(ways, ratios, strict=True):
            yield {
                "tokens": count,
                **way.named,
                **_agreement(student, held_out, count, way),
                "latency": ratio,
            }


def _agreement(student: Student, held_out: TeacherTargets, count: int, way: Setting) -> dict[str, float]:
    features, alone = [], []
    for rows in torch.arange(len(held_out)).split(64):
        cached, centers, _ = held_out.batch(rows, torch.device("cpu"))
        made = way.run(student, tokens_for(student, held_out, rows, cached), centers, count)
        features.append(made.features)
        if made.assignment is None:
            raise TypeError("a student with a gate merges tokens")
        alone.append(cached.shape[1] - made.assignment.sum(dim=(1, 2)))
    bypassed = torch.cat(alone).round().int().tolist()
    found = fidelity(torch.cat(features), held_out.features.float())
    macs = [sum(student_macs(student.config, count, k).values()) for k in bypassed]
    return {
        "smooth_l1": round(found.smooth_l1, 5),
        "cosine_mean": round(found.cosine_mean, 5),
        "encoder_rows": round(count + float(np.mean(bypassed)), 2),
        "macs_total": round(float(np.mean(macs))),
    }


def latency(student: Student, held_out: TeacherTargets, count: int, ways: list[Setting]) -> list[float]:
    """Median batch-1 time of each way relative to that of the first, in turns, each on another cloud."""
    spent: list[list[float]] = [[] for _ in ways]
    for turn in range(WARM_UP + TIMED):
        rows = torch.tensor([turn % len(held_out)])
        cached, centers, _ = held_out.batch(rows, torch.device("cpu"))
        tokens = tokens_for(student, held_out, rows, cached)
        for way, times in zip(ways, spent, strict=True):
            start = time.perf_counter()
            way.run(student, tokens, centers, count)
            times.append(time.perf_counter() - start)
    medians = [float(np.median(times[WARM_UP:])) for times in spent]
    return [round(one / medians[0], 3) for one in medians]


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


INTRODUCTION = (
    "One student with a gate (row `gate` above), used in both ways that method.md names: tokens with a merge "
    "probability above r are merged, or all but k are. Rows in the encoder are SuperTokens and bypassed "
    "tokens, the mean over held-out clouds. Latency is eager PyTorch at batch 1, measured in turns. Made by "
    "`python -m benchmarks.gate_sweep`."
)


def section(path: Path, teacher_sha256: str) -> str:
    """The table in docs/results.md; "" where the file is not there, or of another teacher."""
    record = record_of(path, "teacher_sha256", teacher_sha256)
    if record is None:
        return ""
    header = ["s", "r", "k", "Smooth L1", "cosine", "rows in the encoder", "MMACs", "latency, r = 0 is 1"]
    rows = [
        [
            str(row["tokens"]),
            "-" if row["r"] is None else f"{row['r']:g}",
            "-" if row["k"] is None else str(row["k"]),
            f"{row['smooth_l1']:.4f}",
            f"{row['cosine_mean']:.4f}",
            f"{row['encoder_rows']:.1f}",
            f"{row['macs_total'] / 1e6:.1f}",
            f"{row['latency']:.2f}",
        ]
        for row in record["rows"]
    ]
    return f"{INTRODUCTION}\n\n{table(header, rows)}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="sets whose test sides are taken")
    parser.add_argument("--student", type=Path, required=True, help="folder of a student with a gate")
    parser.add_argument("--teacher", default="embedded:teacher")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 4, 16], help="budgets")
    parser.add_argument("--work", type=Path, default=Path("runs/student-table"), help="cache of targets")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    student = load_student(options.student)
    if student.gate is None:
        raise InputError("the student has no gate", where=options.student, remedy="distil with --gate")
    _, check = split_sides(load_sets(options.data))
    check = [s.first(HELD_OUT_SHAPES) for s in check]
    teacher = load_teacher(options.teacher)
    held_out = held_out_targets(teacher, check, options.work, True, Compute(), _silent)
    rows = list(sweep(student, held_out, tuple(options.tokens)))
    record = {
        "schema": 1,
        "teacher_sha256": teacher_digest(options.teacher),
        "student": student.config.model_dump(mode="json", exclude={"teacher", "teacher_sha256"}),
        "held_out": len(held_out),
        "rows": rows,
    }
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
