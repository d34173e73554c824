"""Every compression method under the same loop, budget and cached targets, judged the same way.

    python -m benchmarks.student_table --data ../shared/data --teacher runs/teacher \
        --probe ../shared/data/infomr69.npz ../shared/data/modelnet10.npz ../shared/data/parts_psb.npz
    python -m benchmarks.tables

One run trains one method with one seed and gives a row per budget. A finished run is written at once to
benchmarks/results/student_<run>_<seed>.json and not repeated; an interrupted one continues from its
checkpoint. Smooth L1 and cosine are taken on held-out shapes. Probes are fitted with a fixed penalty on the
frozen, pooled features of the training side: `validation` on a fifth of the training side (for every choice
between methods), `test` for the record. Latency is the ratio to the teacher at batch 1, measured in turns
in eager PyTorch. `--list` shows the runs, `--only` picks some by a pattern.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.student_probes import ProbeSet
from benchmarks.student_runs import ELASTIC, Run, all_runs, network
from foundry_edge.data.groupings import cached_groupings
from foundry_edge.data.shapes import ShapeSet, load_npz, load_sets
from foundry_edge.load import load_teacher, teacher_digest
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import CompressedConfig
from foundry_edge.models.macs import compressed_macs, teacher_macs
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import Compute
from foundry_edge.training.distill import train_logged
from foundry_edge.training.measure import Measured, measure
from foundry_edge.training.objective import Distillation
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.specialist import specialist
from foundry_edge.training.target_cache import HELD_OUT_SHAPES, cache_targets, kept_targets, split_sides
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).parent / "results"
SCENE_GROUPS = 9375
TIMED, WARM_UP = 40, 5
ROUNDING = 5
Rows = list[dict[str, Any]]


@dataclass
class Bench:
    """Everything the runs share: teacher, recipe, cached targets, probe sets."""

    teacher: Teacher
    digest: str
    recipe: dict[str, Any]
    settings: TrainSettings
    work: Path
    console: Console
    targets: TeacherTargets
    held_out: TeacherTargets
    fit: list[ShapeSet]
    check: list[ShapeSet]
    views: int
    judged: tuple[int, ...] = ELASTIC
    probes: dict[str, ProbeSet] = field(default_factory=dict)

    def execute(self, run: Run, seed: int) -> Rows:
        """Train and measure; a row per budget."""
        steps = max(round(self.settings.steps * run.share), 1)
        settings = self.settings.model_copy(update={"seed": seed, "steps": steps})
        torch.manual_seed(seed)
        model = network(run, self.teacher.config, self.digest)
        model.start_from(self.teacher)
        made_of = f"{model.config.model_dump_json()} {self.recipe} {[s.name for s in self.fit]}"
        form = hashlib.sha256(made_of.encode()).hexdigest()
        out = self.work / f"{run.name}_{seed}_{self.digest[:8]}_{steps}_{form[:8]}"
        objective = self._objective(run, model)
        train_logged(objective, len(objective.targets), settings, out, self.console, resume=True)
        model.cpu().requires_grad_(False)
        found = measure(model, self.held_out)
        save_weights(out, model.config, model)
        common = {"run": run.name, "seed": seed, "steps": steps, "config": _plain(model.config)}
        return [
            common | self._row(model, count if model.budgets else 0, found[count]) for count in sorted(found)
        ]

    def _objective(self, run: Run, model: Compressed) -> Distillation:
        if not run.specialist:
            return Distillation(model, self.targets, freeze_encoder=run.freeze_encoder)
        if run.specialist == "kd-classification":
            return specialist(run.specialist, model, self.targets, self.fit)
        sets = [s for s in self.fit if s.part_label is not None]
        targets, _ = cache_targets(
            self.teacher, sets, self.check, self.views, self.settings, self.work, self.console, True, 1
        )
        return specialist(run.specialist, model, targets, sets)

    def _row(self, model: Compressed, count: int, found: Measured) -> dict[str, Any]:
        stages = compressed_macs(model.config, count)
        parameters = sum(p.numel() for p in model.parameters())
        return {
            "tokens": count or None,
            "smooth_l1": round(found.fidelity.smooth_l1, ROUNDING),
            "cosine_mean": round(found.fidelity.cosine_mean, ROUNDING),
            "cosine_worst": round(found.fidelity.cosine_worst, ROUNDING),
            "usage": {name: round(value, 3) for name, value in found.usage.items()},
            "macs": stages,
            "macs_total": sum(stages.values()),
            "macs_scene": sum(compressed_macs(_scene(model.config), count).values()),
            "weight_bytes": 4 * parameters,
            "latency": self.latency(model, count),
            "probes": {
                name: probe.judge(probe.features(model, count))
                for name, probe in self.probes.items()
                if count in self.judged or not count
            },
        }

    def reference(self) -> Rows:
        """The teacher's own row."""
        config = self.teacher.config
        stages = teacher_macs(config)
        scene = teacher_macs(_with_groups(config))
        return [
            {
                "run": "teacher",
                "seed": 0,
                "tokens": None,
                "smooth_l1": 0.0,
                "cosine_mean": 1.0,
                "macs": stages,
                "macs_total": sum(stages.values()),
                "macs_scene": sum(scene.values()),
                "weight_bytes": 4 * sum(p.numel() for p in self.teacher.parameters()),
                "latency": {"ratio": 1.0},
                "probes": {
                    name: probe.judge(probe.targets.features.float()) for name, probe in self.probes.items()
                },
            }
        ]

    @torch.no_grad()
    def latency(self, model: Compressed, count: int) -> dict[str, float]:
        """Batch-1 milliseconds of model and teacher, in turns, and the ratio of the medians."""
        spec = self.teacher.config.preprocessing
        groups = torch.randn(1, spec.groups, spec.group_size, 3) * 0.1
        centers = self.held_out.centers[:1]
        mine, theirs = [], []
        for _ in range(TIMED + WARM_UP):
            mine.append(_milliseconds(lambda: model(groups, centers, count)))
            theirs.append(_milliseconds(lambda: self.teacher.encode_groups(groups, centers)))
        ours, reference = float(np.median(mine[WARM_UP:])), float(np.median(theirs[WARM_UP:]))
        return {
            "ms": round(ours, 3),
            "teacher_ms": round(reference, 3),
            "ratio": round(ours / reference, 4),
        }


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _plain(config: CompressedConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"teacher", "teacher_sha256"})


def _scene(config: CompressedConfig) -> CompressedConfig:
    return config.model_copy(update={"teacher": _with_groups(config.teacher)})


def _with_groups(config: Any) -> Any:
    spec = config.preprocessing.model_copy(update={"groups": SCENE_GROUPS})
    return config.model_copy(update={"preprocessing": spec})


def random_rows(bench: Bench, seed: int) -> Rows:
    """The probes of random weights with calibrated batch norms."""
    torch.manual_seed(seed)
    model = Teacher(bench.teacher.config).requires_grad_(False)
    probes = {}
    for name, probe in bench.probes.items():
        model.tokenizer.calibrate_batch_norm(probe.grouped.groups[:256, 0].float())
        made = kept_targets(bench.work, model, probe.grouped, 1, 0, Compute(), _silent)
        probes[name] = probe.judge(made.features.float())
    return [{"run": "random", "seed": seed, "tokens": None, "probes": probes}]


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


def prepare(options: argparse.Namespace) -> Bench:
    """Load the teacher and compute, or read back, what all runs share."""
    console = Console(stderr=True)
    teacher = load_teacher(options.teacher)
    settings = TrainSettings(steps=options.steps, batch=options.batch, accelerator=options.accelerator)
    settings = settings.resolved()
    fit, check = split_sides(load_sets(options.data))
    fit = [s.first(options.shapes) for s in fit]
    check = [s.first(HELD_OUT_SHAPES) for s in check]
    targets, held_out = cache_targets(
        teacher, fit, check, options.views, settings, options.work, console, on_disk=True
    )
    digest = teacher_digest(options.teacher)
    recipe = {
        "teacher_sha256": digest,
        "steps": options.steps,
        "batch": options.batch,
        "views": options.views,
        "shapes": options.shapes,
    }
    bench = Bench(
        teacher,
        digest,
        recipe,
        settings,
        options.work,
        console,
        targets,
        held_out,
        fit,
        check,
        options.views,
        tuple(options.judge),
    )
    spec = teacher.config.preprocessing
    for path in options.probe:
        shapes = load_npz(path)
        grouped = cached_groupings(shapes.xyz, spec, 1, 0, options.work)
        made = kept_targets(options.work, teacher, grouped, 1, 0, Compute(), _silent)
        bench.probes[shapes.name] = ProbeSet(shapes, made, grouped, spec)
    return bench


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="embedded:teacher")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="sets to distil on")
    parser.add_argument(
        "--probe", type=Path, nargs="*", default=[], help=".npz sets with labels, to judge on"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/student-table"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--shapes", type=int, default=10**9, help="at most so many of each set")
    parser.add_argument("--seeds", type=int, default=3, help="of the headline runs")
    parser.add_argument("--only", default="*", help="pattern of run names")
    parser.add_argument("--judge", type=int, nargs="*", default=ELASTIC, help="budgets that are probed")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Execute what is missing."""
    options = parse()
    runs = [r for r in all_runs() if fnmatch.fnmatch(r.name, options.only)]
    if options.list:
        for run in runs:
            print(json.dumps(asdict(run)))
        return
    bench = prepare(options)
    _keep(options, bench, "teacher", 0, bench.reference)
    for seed in range(options.seeds):
        _keep(options, bench, "random", seed, partial(random_rows, bench, seed))
        for run in runs:
            if run.headline or seed == 0:
                _keep(options, bench, run.name, seed, partial(bench.execute, run, seed))


def _keep(options: argparse.Namespace, bench: Bench, name: str, seed: int, make: Callable[[], Rows]) -> None:
    """Make and write one run's rows, unless they lie there from the same teacher and number of steps."""
    path = options.out / f"student_{name}_{seed}.json"
    if path.exists() and json.loads(path.read_text())["recipe"] == bench.recipe:
        return
    started = time.perf_counter()
    rows = make()
    record = {
        "schema": 1,
        "recipe": bench.recipe,
        "training_clouds": len(bench.targets),
        "held_out": len(bench.held_out),
        "seconds": round(time.perf_counter() - started, 1),
        "rows": rows,
    }
    write_text(path, json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(
            json.dumps({k: row.get(k) for k in ("run", "seed", "tokens", "smooth_l1", "probes")}), flush=True
        )


if __name__ == "__main__":
    main()
