"""Training loops of distillation, taking turns: samples per second of one student on a frozen teacher.

    python -m benchmarks.loops             # ViT-S, batch 32; about 8 quiet minutes
    python -m benchmarks.loops --quick     # tiny sizes, to see that it runs

Every loop trains the paper's student (16 SuperTokens, learned queries) with AdamW and clipping, as the engine
does. Naive is the published form in FP32: the student owns a tokenizer, which is trained, and the teacher
runs on every batch. Shared computes the frozen tokenizer once for both. Cached reads tokens and features
that the teacher left. Both also in bfloat16 where the CPU has it. Writes results/loops.json, which
`benchmarks.compare --docs` puts into docs/performance.md. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparing.contenders import example
from benchmarks.comparing.interleaved import figures, interleave
from benchmarks.comparing.published import as_published
from benchmarks.measured import keep
from foundry_edge.models.config import VIT_S, VIT_TI, StudentConfig, TeacherConfig
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import has_bf16
from foundry_edge_runtime.grouping import Preprocessing

WANTED = {"shared": 3.5, "cached": 9.0}
CLIP = 1.0


@dataclass
class Loop:
    """One way to take a training step.

    Attributes:
        student: what is trained.
        forward: groups and centres to the student's and the teacher's features.
        bf16: autocast to bfloat16.
    """

    student: nn.Module
    forward: Callable[[], tuple[Tensor, Tensor]]
    bf16: bool = False

    def __post_init__(self) -> None:
        self._trained = [one for one in self.student.parameters() if one.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, lr=1e-4, fused=True)

    def __call__(self) -> None:
        """One step: forward, backward, clipping, AdamW."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            made, wanted = self.forward()
        smooth_l1_loss(made.float(), wanted.float()).backward()
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)


def loops(config: TeacherConfig, batch: int, tokens: int) -> dict[str, Loop]:
    """All loops on one batch of random clouds."""
    groups, centers = (torch.from_numpy(one) for one in example(config, batch))
    teacher = Teacher(config).requires_grad_(False)
    found = {"naive FP32": _naive(teacher, config, groups, centers, tokens)}
    for kind, make in (("shared", _shared), ("cached", _cached)):
        for bf16 in (False, True) if has_bf16("cpu") else (False,):
            name = f"{kind} {'bf16' if bf16 else 'FP32'}"
            found[name] = make(teacher, config, groups, centers, tokens, bf16)
    return found


def _student(config: TeacherConfig, tokens: int) -> Student:
    torch.manual_seed(0)
    student = Student(StudentConfig(teacher=config, tokens=(tokens,), query="learned"))
    student.train()
    return student


def _sampling(tokens: Tensor) -> Sampling:
    return Sampling(1.0, lambda *shape: torch.rand(len(tokens), *shape))


def _naive(teacher: Teacher, config: TeacherConfig, groups: Tensor, centers: Tensor, count: int) -> Loop:
    network: Any = as_published(_student(config, count)).train()
    network.tokenizer.train()
    theirs = as_published(teacher)

    def forward() -> tuple[Tensor, Tensor]:
        tokens = network.tokenizer(groups)
        made = network.reconstruct(tokens, centers, count, _sampling(tokens)).features
        with torch.no_grad():
            return made, theirs(groups, centers)

    return Loop(network, forward)


def _shared(
    teacher: Teacher, config: TeacherConfig, groups: Tensor, centers: Tensor, count: int, bf16: bool
) -> Loop:
    network = _frozen(_student(config, count))

    def forward() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            tokens = teacher.tokenizer(groups)
            wanted = teacher.encode_tokens(tokens, teacher.position(centers))
        return network.reconstruct(tokens, centers, count, _sampling(tokens)).features, wanted

    return Loop(network, forward, bf16)


def _cached(
    teacher: Teacher, config: TeacherConfig, groups: Tensor, centers: Tensor, count: int, bf16: bool
) -> Loop:
    network = _frozen(_student(config, count))
    with torch.no_grad():
        tokens = teacher.tokenizer(groups)
        wanted = teacher.encode_tokens(tokens, teacher.position(centers)).half()
    kept = tokens.half()

    def forward() -> tuple[Tensor, Tensor]:
        read = kept.float()
        return network.reconstruct(read, centers, count, _sampling(read)).features, wanted.float()

    return Loop(network, forward, bf16)


def _frozen(student: Student) -> Student:
    for part in (student.tokenizer, student.position):
        part.requires_grad_(False)
    return student


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All loops in one interleaved run."""
    torch.set_num_threads(options.threads)
    config, batch = {"vit-s": VIT_S, "vit-ti": VIT_TI}[options.size], options.batch
    if options.quick:
        spec = Preprocessing(points=64, groups=8, group_size=8)
        config, batch = TeacherConfig(width=24, depth=2, heads=3, preprocessing=spec), 2
    found = loops(config, batch, 4 if options.quick else 16)
    times = interleave(found, options.seconds, options.rounds)
    naive = figures(times["naive FP32"])["ms_median"]
    rows = []
    for name, taken in times.items():
        row: dict[str, Any] = {"name": name, **figures(taken)}
        row["samples_per_s"] = round(1e3 * batch / row["ms_median"], 3)
        row["ratio_to_naive"] = round(naive / row["ms_median"], 3)
        row["wanted"] = WANTED.get(name.split()[0])
        rows.append(row)
        print(f"{name:14}{row['samples_per_s']:10.2f} clouds/s{row['ratio_to_naive']:8.2f}x", flush=True)
    size = "tiny" if options.quick else options.size
    return {
        "command": " ".join(["python -m benchmarks.loops", *sys.argv[1:]]),
        "size": size,
        "batch": batch,
        "threads": options.threads,
        "rows": rows,
    }


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Kinds of loop whose fastest form is below its target."""
    best = {
        kind: max(row["ratio_to_naive"] for row in rows if row["name"].startswith(kind)) for kind in WANTED
    }
    return [kind for kind, ratio in best.items() if ratio < WANTED[kind]]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written but --out")
    parser.add_argument("--size", choices=("vit-s", "vit-ti"), default="vit-s")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    record = measure(options)
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if options.quick or options.out is not None:
        return 0
    keep("loops", record)
    return int(bool(missed(record["rows"])))


if __name__ == "__main__":
    raise SystemExit(main())
