"""Peak memory of one contender, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.comparing.contenders import Contender, Setting, example
from foundry_edge_runtime.device import resident_mb

ROOT = Path(__file__).resolve().parents[2]
FLAG = "--peak-of"


def peaks(contender: Contender, setting: Setting, batches: tuple[int, ...]) -> dict[str, float | None]:
    """Peak resident memory in MiB after each batch size, ascending; ``gpu`` of torch, where that is used."""
    run = contender.open()
    found: dict[str, float | None] = {}
    for batch in sorted(batches):
        for _ in range(2):
            run(*example(setting.config, batch))
        found[str(batch)] = resident_mb(peak=True)
    if setting.device == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def fresh(
    contender: Contender, setting: Setting, batches: tuple[int, ...], command: list[str]
) -> dict[str, float | None]:
    """`peaks` in a fresh process: of graphs one without torch, of others ``command`` again, told the name.

    Raises:
        RuntimeError: the process failed.
    """
    whole = [sys.executable, "-m", "benchmarks.compare", *command, FLAG, contender.name]
    if contender.graph is not None:
        spec = setting.config.preprocessing
        numbers = (setting.threads, spec.groups, spec.group_size, *batches)
        lean = [*contender.graph, *numbers]
        whole = [sys.executable, "-m", "benchmarks.comparing.lean", *map(str, lean)]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contender.name}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found
