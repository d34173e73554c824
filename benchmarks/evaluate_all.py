"""Every model on every set by every protocol, row by row: what docs/results.md is drawn from.

    python benchmarks/evaluate_all.py --data ../shared/data
    python benchmarks/evaluate_all.py --data ../shared/data --models runs/teacher random fps=runs/fps
    python benchmarks/evaluate_all.py --data ../shared/data --students runs/student-table --tokens 1 4 16

A model is what `foundry-edge evaluate` takes, which `NAME=` gives a name in the table, or `random`: random
weights with calibrated batch norms, three networks. `--students` takes the baselines that student_table.py
distilled in that folder, and the SuperToken student that they stand against, all with the same steps. A
bundle's FP32 engines are left out: their features are the student's, within 1e-4. Each finished row is
written at once to benchmarks/results/evaluate_<set>.json; rows that are there for the same weights and seeds
are kept, so the command resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from foundry_edge.data.shapes import TRAIN, ShapeSet, load_sets
from foundry_edge.evaluation.evaluate import USED_BY, evaluate
from foundry_edge.evaluation.random_weights import random_teacher
from foundry_edge.evaluation.rungs import EvaluatedRung, open_rungs
from foundry_edge.load import load_teacher
from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).resolve().parent / "results"
MODELS = ("embedded:teacher", "random", "embedded:student", "embedded:bundle")
SETS = ("modelnet10", "infomr69", "furniture", "parts_psb", "parts_coseg", "parts_human", "parts_ldraw")
PROTOCOLS = ("probe", "svm", "fewshot", "fidelity", "parts")
FORM = "light-3-2-r1-h64-cau"
BASELINES = {
    FORM: "DSO",
    f"{FORM}-fps": "FPS",
    f"{FORM}-kmeans": "K-means",
    f"{FORM}-tome": "ToMe",
    f"{FORM}-patchmerger": "PatchMerger",
    "lite-truncation-3-r1-h64-cau": "no SuperTokens",
    "lite-truncation-4-r1-h64": "4 narrow blocks",
}
"""Runs of student_table.py that are judged by every protocol, and what the table calls them.

The form that ships (after 500 steps), and what rivals it.
"""
RANDOM_NETWORKS = 3


@dataclass(frozen=True)
class Work:
    """One row to be: a rung of a model on one set by one protocol.

    Attributes:
        model: the name it has in the table.
        named: whether that name was given along with the path.
        path: what `evaluate` is given.
        network_seed: of random weights; None for a trained model.
    """

    model: str
    named: bool
    path: str
    network_seed: int | None
    rung: EvaluatedRung
    shapes: ShapeSet
    protocol: str

    def key(self, seeds: tuple[int, ...], epochs: float | None) -> dict[str, Any]:
        """What makes the row this row; ``epochs`` where something is trained for as many."""
        return {
            "model": self.model,
            "data": self.shapes.name,
            "protocol": self.protocol,
            "tokens": self.rung.tokens,
            "precision": self.rung.precision,
            "network_seed": self.network_seed,
            "seeds": list(seeds),
            "weights": self.rung.digest[:16],
            "epochs": epochs if self.protocol in USED_BY["--epochs"] else None,
            **({"taught_by": self.rung.teacher_sha256[:16]} if self.named else {}),
        }


def main() -> None:
    """Measure what is missing."""
    options = _options()
    console, started = Console(stderr=True), time.monotonic()
    failed = 0
    for shapes in _sets(options.data, options.sets):
        for work in _work(shapes, options):
            if options.minutes and time.monotonic() - started > 60 * options.minutes:
                console.print("time is up; the same command goes on")
                return
            failed += not _done(work, options, console)
    if failed:
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="what --data of evaluate takes")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of the sets to take")
    parser.add_argument("--models", nargs="*", default=MODELS, help="models, NAME=models, and `random`")
    parser.add_argument("--students", type=Path, default=None, help="work folder of student_table.py")
    parser.add_argument("--tokens", type=int, nargs="+", default=None, help="budgets to take; default: all")
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, help="protocols of evaluate")
    parser.add_argument("--seeds", default="0,1,2", help="of every protocol")
    parser.add_argument("--epochs", type=float, default=None, help="of finetune and parts")
    parser.add_argument("--teacher", default=None, help="for fidelity; default: the embedded one")
    parser.add_argument("--like", default="embedded:teacher", help="whose form random weights have")
    parser.add_argument("--networks", type=int, default=RANDOM_NETWORKS, help="random networks")
    parser.add_argument("--minutes", type=float, default=0, help="start no row after so long; 0: no limit")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/random"), help="where random weights are kept"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def _sets(sources: list[Path], names: list[str]) -> Iterator[ShapeSet]:
    """The sets asked for, one in memory at a time where a folder holds several files."""
    for source in sources:
        files = sorted(source.glob("*.npz")) if source.is_dir() else []
        wanted = [path for path in files if path.stem in names]
        for path in wanted if files else [source]:
            yield from load_sets([path])


def _work(shapes: ShapeSet, options: argparse.Namespace) -> Iterator[Work]:
    models = [*options.models, *_distilled(options.students)]
    for protocol in options.protocols:
        if (protocol == "parts") != (shapes.part_label is not None):
            continue  # a set with part labels is there for them
        for model in models:
            name, _, given = model.rpartition("=")
            for path, seed in _networks(given, shapes, options):
                for rung in open_rungs(path):
                    if options.tokens and rung.tokens not in (None, *options.tokens):
                        continue
                    if protocol == "fidelity" and not rung.teacher_sha256:
                        continue
                    if rung.model is None and (protocol == "finetune" or rung.precision == "fp32"):
                        continue  # an engine is not trained, and in FP32 it is the student within 1e-4
                    label = "random weights, calibrated BN" if given == "random" else name or given
                    yield Work(label, bool(name), path, seed, rung, shapes, protocol)


def _distilled(work: Path | None) -> Iterator[str]:
    """NAME=folder of the baselines in a work folder of student_table.py, with the first seed."""
    if work is None:
        return
    for name in BASELINES:
        folders = [path.parent for path in work.glob(f"{name}_0_*/model.safetensors")]
        if len(folders) != 1:
            raise SystemExit(f"{work}: {len(folders)} finished runs of {name} with seed 0, expected one")
        yield f"{name}={folders[0]}"


def _networks(name: str, shapes: ShapeSet, options: argparse.Namespace) -> Iterator[tuple[str, int | None]]:
    if name != "random":
        yield name, None
        return
    config = load_teacher(options.like).config
    for seed in range(options.networks):
        out = options.runs / f"{shapes.name}-{config.width}x{config.depth}-seed{seed}"
        there = (out / "config.json").is_file()
        yield str(out if there else random_teacher(config, shapes, seed, out)), seed


def _done(work: Work, options: argparse.Namespace, console: Console) -> bool:
    """Measure one row unless it is there; False when it cannot be measured."""
    seeds = tuple(int(part) for part in options.seeds.split(","))
    path = options.out / f"evaluate_{work.shapes.name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    key = work.key(seeds, options.epochs)
    if any(all(row.get(name) == value for name, value in key.items()) for row in rows):
        return True
    try:
        row = {**key, **_measured(work, seeds, options)}
    except FoundryEdgeError as error:
        console.print(f"{work.model} on {work.shapes.name}, {work.protocol}: {error}", markup=False)
        return False
    same = ("model", "data", "protocol", "tokens", "precision", "network_seed")
    rows = [old for old in rows if any(old.get(name) != row[name] for name in same)]
    write_text(path, json.dumps({"schema": 1, "rows": [*rows, row]}, indent=1) + "\n")
    line = f"{work.model} {work.rung.name} on {work.shapes.name}, {work.protocol}: {row['metrics']}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    return True


def _measured(work: Work, seeds: tuple[int, ...], options: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    report = evaluate(
        work.path,
        work.shapes,
        work.protocol,
        tokens=None if work.rung.tokens is None else (work.rung.tokens,),
        precision=work.rung.precision,
        seeds=seeds,
        **_read(work, options),
    )
    return {
        "metrics": report.rungs[0].metrics,
        "samples": report.samples,
        "training_samples": int((work.shapes.split == TRAIN).sum()),
        "seconds": round(time.perf_counter() - started, 1),
        "command": _command(work, options),
    }


def _read(work: Work, options: argparse.Namespace) -> dict[str, Any]:
    """The options given that the protocol reads."""
    given = {"epochs": options.epochs, "teacher": options.teacher}
    return {
        name: value
        for name, value in given.items()
        if value is not None and work.protocol in USED_BY[f"--{name}"]
    }


def _command(work: Work, options: argparse.Namespace) -> str:
    """The command that gives this row."""
    if work.network_seed is not None:
        words = ["python benchmarks/evaluate_all.py --models random --like", options.like]
        words += ["--sets", work.shapes.name, "--protocols", work.protocol]
    else:
        words = ["foundry-edge evaluate", work.path, "--protocol", work.protocol]
        words += [] if work.rung.tokens is None else ["--tokens", str(work.rung.tokens)]
        words += ["--precision", work.rung.precision]
    source = next(iter(options.data))
    inside = source / f"{work.shapes.name}.npz"
    words += ["--data", str(inside if inside.is_file() else source), "--seeds", options.seeds]
    for name, value in _read(work, options).items():
        words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return " ".join(words)


if __name__ == "__main__":
    main()
