"""Every way from points to features in one interleaved run: time, memory, multiply-accumulates.

    python -m benchmarks.compare                 # ViT-S, batches 1, 8, 32, scenes; about 15 quiet minutes
    python -m benchmarks.compare --quick         # tiny sizes, to see that it runs
    python -m benchmarks.compare --docs          # docs/performance.md and plots anew, from the JSON

On objects all contenders take turns, in an order drawn anew each round, from a raw cloud to features; all use
our grouping, which flatters the teacher. Weights are random: they change no time. Memory is the peak of a
process of its own. Scenes are processes of their own. With --device cuda the same contenders run on a GPU
(not verified on one yet). Writes results/compare.json, docs/performance.md and docs/performance.png.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparing.interleaved import POOL_REST, figures, interleave
from benchmarks.measured import keep
from foundry_edge_runtime.grouping import Preprocessing, accelerate, group_points
from foundry_edge_runtime.pointcloud import FloatArray

BUDGETS = (1, 2, 4, 8, 16)
SCENES = "100000,300000,1000000"
Row = dict[str, Any]
Runner = Callable[[FloatArray, FloatArray], object]


def setting_of(options: argparse.Namespace, work: Path) -> Any:
    """Sizes by --quick and --size; contenders' files are looked for in ``work``."""
    from benchmarks.comparing.contenders import Setting
    from foundry_edge.models.config import VIT_S, VIT_TI, TeacherConfig

    config = {"vit-s": VIT_S, "vit-ti": VIT_TI}[options.size]
    if options.quick:
        spec = Preprocessing(points=64, groups=8, group_size=8)
        config = TeacherConfig(width=24, depth=2, heads=3, preprocessing=spec)
    bundles = {Path(path).name: Path(path) for path in options.bundle}
    bundles |= {path.name.replace("bundle-", "ours, "): path for path in sorted(work.glob("bundle-*"))}
    return Setting(
        config=config,
        tokens=4 if options.quick else 16,
        depths=(1,) if options.quick else (1, 4, 6),
        light_depths=(1,) if options.quick else (1, 2),
        threads=options.threads,
        device=options.device,
        compiler=options.compiler and not options.quick,
        bundles=bundles,
        work=work,
    )


def prepare(options: argparse.Namespace, work: Path) -> None:
    """Write the graphs and bundles that contenders are loaded from."""
    from benchmarks.comparing.prepared import student_bundle, teacher_graphs, truncation_graphs

    setting = setting_of(options, work)
    config = setting.config
    teacher_graphs(config, work)
    truncation_graphs(config, setting.light_depths, work)
    if options.bundle:
        return
    if options.quick:
        student_bundle(config, "full", (1,), ("fp32",), work)
        return
    for tokenizer in ("full", "lite"):
        student_bundle(config, tokenizer, BUDGETS, ("fp32", "int8"), work, samples=16)


def clouds(spec: Preprocessing, batch: int) -> list[FloatArray]:
    """``batch`` different clouds of 4 N points on ellipsoids."""
    made = []
    for seed in range(batch):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(4 * spec.points, 3))
        points *= rng.uniform(0.3, 1, 3) / np.linalg.norm(points, axis=1, keepdims=True)
        made.append(points.astype(np.float32))
    return made


def whole(run: Runner, batch: list[FloatArray], spec: Preprocessing) -> object:
    """Points in, features out."""
    grouped = [group_points(one, spec) for one in batch]
    return run(np.stack([one.groups for one in grouped]), np.stack([one.centers for one in grouped]))


def opened(setting: Any, left_out: dict[str, str]) -> dict[str, tuple[Any, Runner]]:
    """What works here, by name, ready to run; ``left_out`` gets the rest, and why."""
    from benchmarks.comparing.contenders import contenders

    spec = setting.config.preprocessing
    found: dict[str, tuple[Any, Runner]] = {}
    for contender in contenders(setting):
        try:
            run = contender.open()
            whole(run, clouds(spec, 1), spec)
        except Exception as error:  # a compiler or provider that is missing is a row less, said so
            left_out[contender.name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        else:
            found[contender.name] = (contender, run)
    return found


def object_rows(options: argparse.Namespace, work: Path, left_out: dict[str, str]) -> list[Row]:
    """Every contender at every batch size; ``left_out`` gets those that do not work here, and why."""
    from benchmarks.comparing.contenders import BASELINE

    setting = setting_of(options, work)
    spec = setting.config.preprocessing
    found = opened(setting, left_out)
    memory = _memory(options, setting, [one for one, _ in found.values()]) if options.memory else {}
    rows = []
    for batch in options.batches:
        turns: dict[str, Callable[[], object]] = {
            name: partial(whole, run, clouds(spec, batch), spec) for name, (_, run) in found.items()
        }
        turns["grouping alone"] = partial(_group_all, clouds(spec, batch), spec)
        times = interleave(turns, options.seconds, options.rounds, POOL_REST)
        base = figures(times[BASELINE])["ms_median"]
        for name, taken in times.items():
            macs = found[name][0].macs if name in found else None
            rows.append(_row(name, batch, figures(taken), macs, memory.get(name, {}), base))
            print(line(rows[-1]), flush=True)
    return rows


def _memory(
    options: argparse.Namespace, setting: Any, contenders: list[Any]
) -> dict[str, dict[str, float | None]]:
    """Peaks of all contenders, one process after the other."""
    from benchmarks.comparing.memory import fresh

    command = ["--work", str(setting.work), "--size", options.size, "--threads", str(options.threads)]
    command += ["--device", options.device, "--batches", ",".join(map(str, options.batches))]
    command += [word for path in options.bundle for word in ("--bundle", path)]
    command += ["--quick"] if options.quick else []
    return {one.name: fresh(one, setting, options.batches, command) for one in contenders}


def _row(
    name: str,
    batch: int,
    found: dict[str, float],
    macs: int | None,
    peak: dict[str, float | None],
    base: float,
) -> Row:
    return {
        "name": name,
        "workload": "object",
        "batch": batch,
        **found,
        "macs": macs,
        "peak_rss_mb": peak.get(str(batch)),
        "gpu_mb": peak.get("gpu"),
        "ratio_to_teacher": None if macs is None else round(base / found["ms_median"], 2),
    }


def _group_all(batch: list[FloatArray], spec: Preprocessing) -> None:
    for one in batch:
        group_points(one, spec)


def one_peak(options: argparse.Namespace) -> int:
    """What a process for the memory of one contender does."""
    import torch

    from benchmarks.comparing.contenders import contenders
    from benchmarks.comparing.memory import peaks

    torch.set_num_threads(options.threads)
    setting = setting_of(options, options.work)
    contender = next(one for one in contenders(setting) if one.name == options.peak_of)
    print(json.dumps(peaks(contender, setting, options.batches)))
    return 0


def line(row: Row) -> str:
    """One row for people."""
    ratio = "" if row["ratio_to_teacher"] is None else f"{row['ratio_to_teacher']:7.2f}x"
    macs = "" if row["macs"] is None else f"{row['macs'] / 1e6:10.1f} MMACs"
    memory = "" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:7.0f} MiB"
    return (
        f"{row['workload']:24} batch {row['batch']:<3}{row['name']:42}{row['ms_min']:10.2f} ms min"
        f"{row['ms_median']:10.2f} ms{macs}{memory}{ratio}"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for."""
    import torch

    from benchmarks.comparing.scenes import scene_rows

    torch.set_num_threads(options.threads)
    grouping = accelerate()
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        if not any(work.glob("teacher-*.onnx")):
            prepare(options, work)
        rows = object_rows(options, work, left_out)
    points = () if options.quick else tuple(int(one) for one in options.scenes.split(",") if one)
    scene = options.scene_bundle
    patience = options.teacher_seconds
    for row in scene_rows(points, scene, options.teacher, options.threads, 3, patience, left_out):
        rows.append(row)
        print(line(row), flush=True)
    return {
        "command": " ".join(["python -m benchmarks.compare", *sys.argv[1:]]),
        "size": "tiny" if options.quick else options.size,
        "threads": options.threads,
        "on": options.device,
        "grouping": vars(grouping),
        "left_out": left_out,
        "rows": rows,
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written but --out")
    made.add_argument("--docs", action="store_true", help="measure nothing: docs and plots from the JSON")
    made.add_argument("--size", choices=("vit-s", "vit-ti"), default="vit-s")
    made.add_argument("--batches", type=_sizes, default=(1, 8, 32))
    made.add_argument("--seconds", type=float, default=150.0, help="of each batch size")
    made.add_argument("--rounds", type=int, default=5, help="at least so many, whatever --seconds")
    made.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--bundle", action="append", default=[], help="rungs of this in place of random ones")
    made.add_argument("--scenes", default=SCENES, help="points of the scenes; empty leaves them out")
    made.add_argument("--scene-bundle", default="", help="with graphs for scenes; default: as `run` finds it")
    made.add_argument("--teacher", default="embedded:teacher", help="of the scenes")
    made.add_argument("--teacher-seconds", type=float, default=120.0, help="patience; 0 leaves it out")
    made.add_argument("--no-compiler", dest="compiler", action="store_false", help="without torch.compile")
    made.add_argument("--no-memory", dest="memory", action="store_false", help="without peaks of memory")
    made.add_argument("--out", type=Path, default=None, help="write the JSON here, and no document")
    made.add_argument("--work", type=Path, default=None, help="a folder that keeps graphs and bundles")
    made.add_argument("--peak-of", default=None, help=argparse.SUPPRESS)
    return made


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    from benchmarks.comparing.document import write_document

    options = parser().parse_args(arguments)
    if options.peak_of is not None:
        return one_peak(options)
    if not options.docs:
        record = measure(options)
        if options.quick or options.out is not None:
            if options.out is not None:
                options.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
            return 0
        keep("compare", record)
    write_document()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
