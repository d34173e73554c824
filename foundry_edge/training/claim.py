"""What a folder's training run is made of: a run that is resumed must be made of the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from foundry_edge.load import model_folder
from foundry_edge.models.previous import CHECKPOINTS, keep_previous
from foundry_edge.training.processes import is_main_process
from foundry_edge_runtime.errors import CheckpointError, InputError, printable
from foundry_edge_runtime.files import nearest_existing, sweep, try_folder, write_text

RUN = "run.json"
CACHE = "cache"
"""Folder in a run's folder, of what is computed once before training."""


def check_out(out: Path, *sources: str | Path) -> None:
    """Before anything is computed: a run can write to ``out``, and not over what it starts from.

    Raises:
        InputError: ``out`` is a file, or the folder of one of the models ``sources``.
        CheckpointError: there is no such model.
        StorageError: files cannot be made there.
    """
    there = nearest_existing(out)
    if not there.is_dir():
        raise InputError(f"{there} is a file", where=f"--out {out}", remedy="give a folder")
    for source in sources:
        if not Path(source).is_file() and model_folder(source).resolve() == out.resolve():
            raise InputError(
                "is the folder of the model that the run starts from, which would be lost",
                where=f"--out {out}",
                remedy="give another --out",
            )
    try_folder(there)


def claim(out: Path, made_of: dict[str, Any], resume: bool) -> None:
    """Write run.json into the folder ``out``, or compare it with the one that is there.

    Temporary files that a killed run left there are removed. When another run begins, a finished one is moved
    out of its way, and checkpoints of an unfinished one, which could not be told apart, are removed.

    Args:
        out: folder of the run.
        made_of: model, data and options, everything that decides the result but the `TrainSettings`.
        resume: continue the run that is there, if there is one.

    Raises:
        CheckpointError: the run there differs; the message names the first field.
    """
    if is_main_process():
        sweep(out)
    path, text = out / RUN, json.dumps(made_of, indent=2) + "\n"
    if not resume or not path.exists():
        if is_main_process():
            _begin(out, path, text, resume)
        return
    there, here = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise CheckpointError(
                f"it belongs to a run with another {name}: {there.get(name)}, now {here.get(name)}",
                where=path,
                remedy="use the same, or another --out",
            )
    if is_main_process() and not any(one for pattern in CHECKPOINTS for one in out.glob(pattern)):
        _begin(out, path, text, resume)


def _begin(out: Path, path: Path, text: str, resume: bool) -> None:
    if resume:
        _say(f"{out} holds no checkpoint to resume from: the run begins anew")
    keep_previous(out)
    for pattern in () if resume else CHECKPOINTS:
        for checkpoint in out.glob(pattern):
            checkpoint.unlink()
    write_text(path, text)


def _say(line: str) -> None:
    Console(stderr=True).print(printable(line), highlight=False, markup=False, soft_wrap=True)
