"""Distillations that are killed: what resumes ends in the same weights, to the bit (K1).

    python -m benchmarks.distill_faults --kills 200

A tiny student is distilled, and killed with SIGKILL at a random moment, again and again, always with
--resume. After each kill every file that is there must be whole, and the checkpoint at most one interval
behind the log. When a run comes through, its weights are compared with those of a run that was never killed,
and the next begins. Writes benchmarks/results/distill_faults.json; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.export_faults import TINY
from benchmarks.forked import killed, timed
from benchmarks.measured import keep
from foundry_edge import distill
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.settings import TrainSettings

EVERY = 10
SETTINGS = TrainSettings(
    steps=100, batch=16, precision="32-true", accelerator="cpu", checkpoint_every=EVERY, log_every=1
)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        found = kills(Path(name), options.kills)
    print(dict(found), keep("distill_faults", {**found, "checkpoint_every": EVERY, "steps": SETTINGS.steps}))
    targets = ("damaged files", "other weights", "temporary files left")
    return int(any(found[target] for target in targets) or found["most steps lost"] > EVERY)


def kills(folder: Path, count: int) -> Counter[str]:
    """What so many killed distillations left."""
    torch.manual_seed(0)
    save_weights(folder / "teacher", TINY, Teacher(TINY))
    whole, out = folder / "whole", folder / "student"
    seconds = timed(partial(_distill, folder / "teacher", whole))
    found: Counter[str] = Counter({"runs": 0, "other weights": 0, "damaged files": 0, "most steps lost": 0})
    while found["kills"] < count:
        if killed(partial(_distill, folder / "teacher", out), seconds):
            found["kills"] += 1
            found["damaged files"] += sum(map(_damaged, out.rglob("*")))
            found["most steps lost"] = max(found["most steps lost"], _lost(out))
            continue
        found["runs"] += 1
        found["other weights"] += _digest(out) != _digest(whole)
        found["temporary files left"] += len(list(out.rglob("*.partial")))
        shutil.rmtree(out)
    return found


def _distill(teacher: Path, out: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # progress of hundreds of runs
    distill(
        teacher,
        method="dso",
        out=out,
        tokens=(1, 2),
        tokenizer="full",
        views=1,
        settings=SETTINGS,
        resume=True,
    )


def _damaged(path: Path) -> bool:
    """Whether a finished file cannot be read; those being written end in .partial and do not count."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
    except Exception as error:  # any failure to read is what this looks for
        print(path, repr(error), flush=True)
        return True
    return False


def _lost(out: Path) -> int:
    """Logged steps that the checkpoint does not have."""
    log, checkpoint = out / "log.jsonl", out / "checkpoint.pt"
    if not log.exists():
        return 0
    lines = log.read_text().splitlines(keepends=True)
    logged = max((json.loads(line)["step"] for line in lines if line.endswith("\n")), default=0)
    kept = torch.load(checkpoint, weights_only=True)["step"] if checkpoint.exists() else 0
    return int(logged - kept)


def _digest(out: Path) -> str:
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
