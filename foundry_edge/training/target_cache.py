"""From data sets to cached teacher outputs: sides, groupings, tokens and features, on disk where asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.groupings import GroupedShapes, Views
from foundry_edge.data.shapes import TEST, ShapeSet
from foundry_edge.data.tensor_cache import keep_tensors, kept_tensors
from foundry_edge.models.config import HEAD_FIELDS
from foundry_edge.models.store import HEAD
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import Compute
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.targets import TeacherTargets, teacher_targets
from foundry_edge_runtime.errors import DataError

_KEPT = ("tokens", "centers", "features")
HELD_OUT_SHAPES = 256
"""Of each set, at most."""
VARIANTS = 4
"""Groupings per shape; the last is one-sided, so that students are faithful on scans too."""


def split_sides(sets: list[ShapeSet]) -> tuple[list[ShapeSet], list[ShapeSet]]:
    """Training sides, and test sides for the figures; without any, every tenth shape of the last set.

    Raises:
        DataError: there is no training shape.
    """
    fit = [s for s in training_side(sets) if len(s)]
    if not fit:
        raise DataError("the data hold no training shapes", remedy="mark some with split 0")
    check = [s.part(TEST) for s in sets if len(s.part(TEST))]
    if check:
        return fit, check
    last = fit[-1]
    tenth = np.arange(len(last)) % 10 == min(len(last), 10) - 1  # spread: files are often sorted by class
    return [*fit[:-1], last.where(~tenth)], [last.where(tenth)]


def cache_targets(
    teacher: Teacher,
    fit: list[ShapeSet],
    check: list[ShapeSet],
    views: int,
    settings: TrainSettings,
    cache: Path,
    console: Console,
    on_disk: bool = False,
    variants: int = VARIANTS,
) -> tuple[TeacherTargets, TeacherTargets]:
    """The teacher's outputs on the training views, and on the held-out shapes as they are (float32).

    Args:
        teacher: frozen.
        fit: sets to train on.
        check: sets for the figures.
        views: views per training shape.
        settings: seed and precision.
        cache: folder for groupings and kept outputs.
        console: for progress.
        on_disk: write the outputs to ``cache`` too, and read them back (memory-mapped) another time.
        variants: groupings per training shape, at most one per view.
    """
    spec, variants = teacher.config.preprocessing, min(views, variants)
    with console.status("grouping"):
        groups = grouped_corpus(
            fit, spec, variants, settings.seed, cache, one_sided_variants=int(variants > 1)
        )
    folder = cache if on_disk else None
    with _bar(console, "teacher") as advance:
        targets = kept_targets(folder, teacher, groups, views, settings.seed, settings.compute, advance)
        shown = [s.spread(HELD_OUT_SHAPES) for s in check]
        exact = Compute(settings.compute.device)
        return targets, held_out_targets(teacher, shown, cache, on_disk, exact, advance, settings.seed)


def held_out_targets(
    teacher: Teacher,
    check: list[ShapeSet],
    cache: Path,
    on_disk: bool,
    compute: Compute,
    on_batch: Callable[[int, int], None],
    seed: int = 0,
) -> TeacherTargets:
    """The teacher's outputs on all shapes of each set, as they are."""
    spec = teacher.config.preprocessing
    groups = grouped_corpus(check, spec, 1, 0, cache)
    return kept_targets(cache if on_disk else None, teacher, groups, 1, seed, compute, on_batch)


def kept_targets(
    folder: Path | None,
    teacher: Teacher,
    data: GroupedShapes,
    views: int,
    seed: int,
    compute: Compute,
    on_batch: Callable[[int, int], None],
) -> TeacherTargets:
    """`teacher_targets`, kept in ``folder`` under a key of weights, groups and all parameters.

    A damaged copy is made anew.
    """
    if folder is None:
        return teacher_targets(teacher, data, views, seed, compute, on_batch)
    clouds = Views.of(data, views, seed)
    path = folder / f"targets-{_key(teacher, clouds, compute)}.pt"
    stored = kept_tensors(path, *_KEPT, mmap=True)
    if stored is None:
        made = teacher_targets(teacher, data, views, seed, compute, on_batch)
        keep_tensors(path, **{name: getattr(made, name) for name in _KEPT})
        stored = kept_tensors(path, *_KEPT, mmap=True) or (made.tokens, made.centers, made.features)
    tokens, centers, features = stored
    return TeacherTargets(tokens, centers, features, clouds)


def _key(teacher: Teacher, clouds: Views, compute: Compute) -> str:
    config = teacher.config.model_dump_json(exclude=set(HEAD_FIELDS))
    digest = hashlib.sha256(f"{config} {compute.device.type} {compute.dtype}".encode())
    weights = [tensor for name, tensor in teacher.state_dict().items() if not name.startswith(HEAD)]
    for part in (*weights, clouds.shapes.groups, clouds.shapes.centers, clouds.draws):
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()[:16]


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """Tells how many clouds are done: a bar on a terminal, on a pipe a plain line for every fifth of them."""
    if not console.is_terminal:
        yield _Lines(console, title)
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Lines:
    """Prints whenever another fifth is done."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title, self._told = console, title, 0

    def __call__(self, done: int, total: int) -> None:
        """Take note of what is done."""
        fifth = 5 * done // total
        if fifth > self._told:
            self._console.print(f"{self._title} {done}/{total} clouds", highlight=False)
        self._told = fifth
