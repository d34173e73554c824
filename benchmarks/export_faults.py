"""Exports that are killed, and exports at the same time: what is in the bundle is whole, always.

    python -m benchmarks.export_faults kill --kills 200
    python -m benchmarks.export_faults concurrent --exporters 8 --rounds 20
    python -m benchmarks.export_faults concurrent --exporters 8 --rounds 20 --no-lock

``kill`` (K1): a tiny student's export is killed with SIGKILL at a random moment, in turn into a new folder
and into a bundle that has other rungs. The bundle is then absent, the old one, or the new one, every file of
it verified; at the end an unbroken export gives the same hashes as one that was never disturbed, and no
temporary file stays. ``concurrent`` (C1): exporters of overlapping rungs start at once; nothing is lost, with
the lock nothing is built twice. Writes benchmarks/results/export_faults_{kill,concurrent,no_lock}.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch

from benchmarks.forked import forked, killed, timed, wait
from benchmarks.measured import keep
from foundry_edge.data.samples import load_samples
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_export import exporter
from foundry_edge_runtime import files, load_bundle
from foundry_edge_runtime.grouping import Preprocessing

SPEC = Preprocessing(points=128, groups=16, group_size=8)
TINY = TeacherConfig(preprocessing=SPEC, width=48, depth=2, heads=2)
OLD, NEW = (1,), (1, 2)


def main() -> None:
    """Run one of the two, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("kill", "concurrent"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--exporters", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--no-lock", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FOUNDRY_EDGE_CACHE"] = str(folder / "cache")
        student = _student(folder / "student")
        if options.what == "kill":
            record: dict[str, object] = dict(kills(student, folder, options.kills))
        else:
            record = dict(concurrent(student, folder, options.exporters, options.rounds, options.no_lock))
    suffix = "no_lock" if options.no_lock else options.what
    print(record, keep(f"export_faults_{suffix}", record))


def kills(student: Path, folder: Path, count: int) -> Counter[str]:
    """Outcomes of so many killed exports."""
    files.GRACE_SECONDS = -1.0  # a killed exporter's files are swept by the next one
    outcomes: Counter[str] = Counter()
    old, whole = folder / "old", folder / "whole"
    timed(lambda: _export(student, old, OLD))
    seconds, out = timed(lambda: _export(student, whole, NEW)), folder / "bundle"
    for number in range(count):
        shutil.rmtree(out, ignore_errors=True)
        if number % 2:
            shutil.copytree(old, out)
        killed(lambda: _export(student, out, NEW), seconds)
        outcomes[_state(out)] += 1
    timed(lambda: _export(student, out, NEW))
    outcomes["same as undisturbed"] = int(_hashes(out) == _hashes(whole))
    outcomes["temporary files left"] = len([p for p in folder.rglob("*.partial") if "cache" not in p.parts])
    return outcomes


def _state(out: Path) -> str:
    """What a kill left; a damaged bundle raises."""
    if not (out / "manifest.json").exists():
        return "no bundle"
    bundle = load_bundle(out)
    bundle.verify()
    tokens = {rung.tokens for rung in bundle.manifest.rungs}
    return {frozenset(OLD): "old bundle", frozenset(NEW): "new bundle"}[frozenset(tokens)]


def concurrent(student: Path, folder: Path, exporters: int, rounds: int, no_lock: bool) -> Counter[str]:
    """Outcomes of so many rounds of exporters into one bundle; half of them also want the second rung."""
    if no_lock:
        vars(exporter)["locked"] = _unlocked
    outcomes: Counter[str] = Counter()
    for number in range(rounds):
        out, told = folder / f"bundle{number}", folder / f"told{number}"
        told.mkdir()
        asked = [NEW if i % 2 else OLD for i in range(exporters)]
        children = [
            forked(partial(_count, told / str(i), student, out, tokens)) for i, tokens in enumerate(asked)
        ]
        for child in children:
            wait(child)
        bundle = load_bundle(out)
        bundle.verify()
        built = sum(int(path.read_text()) for path in told.iterdir())
        outcomes["rounds"] += 1
        outcomes["rungs"] += len(bundle.manifest.rungs)
        outcomes["rungs built"] += built
        outcomes["rungs lost"] += len(NEW) - len(bundle.manifest.rungs)
    return outcomes


def _unlocked(folder: Path, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    """In the place of the lock: lets everybody in."""
    return nullcontext()


def _count(path: Path, student: Path, out: Path, tokens: tuple[int, ...]) -> None:
    path.write_text(str(_export(student, out, tokens)))


def _export(student: Path, out: Path, tokens: tuple[int, ...]) -> int:
    """Export; how many rungs were built."""
    report = exporter.export(student, tokens=tokens, precision=("fp32",), out=out)
    return sum(draft.fresh for draft in report.rungs)


def _hashes(out: Path) -> list[str]:
    manifest = load_bundle(out).manifest
    return [manifest.id, *(ref.sha256 for ref in manifest.files())]


def _student(folder: Path) -> Path:
    """A tiny student with random weights."""
    torch.manual_seed(0)
    config = StudentConfig(teacher=TINY, tokens=NEW)
    student = Student(config)
    groups, _ = group_clouds(load_samples().xyz[:16], SPEC)
    if isinstance(student.tokenizer, Tokenizer):
        student.tokenizer.calibrate_batch_norm(torch.from_numpy(groups))
    save_weights(folder, config, student, half=True)
    return folder


if __name__ == "__main__":
    main()
