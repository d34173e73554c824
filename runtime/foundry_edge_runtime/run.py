"""`foundry-edge run`: scans in, results out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundry_edge_runtime.backends.registry import available_backend
from foundry_edge_runtime.batches import parse_batch
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.keeping import Keeper, Wanted
from foundry_edge_runtime.parts.category import Categories, refuse_without_parts
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import parse_columns
from foundry_edge_runtime.selection import Notify, quick_profile, select, silent
from foundry_edge_runtime.session import Session
from foundry_edge_runtime.streams import here
from foundry_edge_runtime.streams.inputs import Scans, refuse_missing, refuse_mixture, scans_of
from foundry_edge_runtime.streams.items import Items, Outcome, Stop
from foundry_edge_runtime.streams.ledger import Ledger
from foundry_edge_runtime.streams.running import Computing, Running

if TYPE_CHECKING:
    from foundry_edge_runtime.streams.worker import Setup

__all__ = ["Running", "Scans", "run", "scans_of"]


def run(
    scan: str | os.PathLike[str] | Scans,
    *,
    bundle: str | os.PathLike[str] | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    max_memory_mb: float | None = None,
    tokens: int | None = None,
    precision: str | None = None,
    backend: str | None = None,
    strict: bool = False,
    parts: bool = False,
    category: str | None = None,
    adaptive: bool = False,
    batch: int | str = 1,
    workers: int = 1,
    isolate: bool = False,
    cluster: str | None = None,
    watch: bool = False,
    ledger: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    per_point: bool = False,
    viz: str | os.PathLike[str] | None = None,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
    notify: Notify = silent,
) -> Running:
    """Run one scan, the scans of a folder or of a bag, those named on standard input, or a live topic.

    Args:
        scan: file, folder, "-" or "ros2:/topic" (see `scans_of`), or what `scans_of` made of it.
        bundle: a folder; None takes the default one (see `load_bundle`).
        max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend: see `Budget`.
        strict: a budget that cannot be met, and an engine that fails, are errors; whether a scan kept the
            budget is said by its result.
        parts: name the part of every point, too.
        category: whose parts; None takes the most probable class that has parts, scan by scan.
        adaptive: hold ``max_latency_ms`` while conditions change, by switching engines.
        batch: how many scans to put through the engine at once; "auto" finds out.
        workers: how many processes compute.
        isolate: compute in a process of its own, so that a scan that takes it down is one failure.
        cluster: "auto" or the address of a Ray cluster that is to compute; see `Cluster`.
        watch: of a folder, wait for more scans until stopped.
        ledger: file that keeps the record of each finished scan; those in it are not computed again.
        save: folder for the features of each scan (npz), or a .parquet file for those of all scans.
        per_point: with a folder, write the features and colours of every point, too (npy and PLY).
        viz: draw the scan, coloured by feature and by group, to a .png or a .html file.
        salvage, columns, topic, vertices, seed: see `read_points`.
        notify: told in one line what is measured and what fails.

    Returns:
        An iterator over the results, in order. For a folder or list an unreadable scan gives a `Failure`.
        The engine is chosen and loaded before this function returns.

    Raises:
        InputError: no such scan, a wrong option, or a bundle or ledger that cannot be used.
        GateError: ``strict``, and no engine keeps within the budget.
        EnvironmentFault: no engine can be loaded, or a result cannot be saved.
    """
    budget = Budget(max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend)
    options = Options(salvage, parse_columns(columns), topic, vertices, seed)
    scans = scan if isinstance(scan, Scans) else scans_of(scan, watch=watch)
    wanted = Wanted(save, per_point, viz)
    wanted.refuse(scans, ledger is not None, parts)
    how = How(strict, adaptive, parse_batch(batch), workers, isolate, cluster, parts, category)
    how.refuse(watch)
    refuse_mixture(scans, ledger=ledger is not None, processes=how.processes)
    refuse_missing(scans)
    opened = load_bundle(bundle)
    if parts:
        Categories(opened, category)  # refuses at once, whatever computes
    if scans.many and not how.processes and max_memory_mb is None:
        accelerate(compile_now=False)
    with ExitStack() as stack:
        book = None if ledger is None else stack.enter_context(closing(Ledger(ledger, opened.manifest.id)))
        keeper = Keeper(wanted, scans.root)
        stack.callback(keeper.close)
        items, stop = iter(scans.items), Stop()
        items = items if book is None else book.remaining(items)
        computing, outcomes = _start(opened, budget, options, how, items, stop, notify)
        stack.pop_all()
    return Running(computing, scans, outcomes, stop, keeper, book)


@dataclass(frozen=True)
class How:
    """How a stream is computed; see `run`. A ``batch`` of None is to be found out."""

    strict: bool
    adaptive: bool
    batch: int | None
    workers: int
    isolate: bool
    cluster: str | None
    parts: bool
    category: str | None

    @property
    def processes(self) -> bool:
        """Whether anything but this process computes."""
        return self.isolate or self.workers != 1 or self.cluster is not None

    def refuse(self, watch: bool) -> None:
        """What does not go together.

        Raises:
            InputError: see the message.
        """
        refuse_without_parts(self.parts, self.category)
        if self.workers < 1:
            raise InputError(f"--workers must be at least 1, found {self.workers}")
        if self.adaptive and self.batch != 1:
            raise InputError("--adaptive holds the latency of single scans", remedy="leave out --batch")
        if self.cluster is not None and (watch or self.isolate):
            raise InputError("--cluster computes a batch", remedy="leave out --watch and --isolate")


def _start(
    bundle: Bundle, budget: Budget, options: Options, how: How, items: Items, stop: Stop, notify: Notify
) -> tuple[Computing, Iterator[Outcome | None]]:
    """What computes, with its engine loaded, and what comes of the inputs."""
    if not how.processes:
        session = Session(
            bundle,
            budget,
            strict=how.strict,
            adaptive=how.adaptive,
            parts=how.parts,
            category=how.category,
            notify=notify,
        )
        return session, here.outcomes(session, items, options, stop, how.batch or session.best_batch())
    setup = _setup(bundle, budget, options, how, notify)
    if how.cluster is not None:
        from foundry_edge_runtime.streams.cluster import Cluster  # noqa: PLC0415 - an extra

        cluster = Cluster(bundle, setup, how.cluster, how.workers, notify)
        return cluster, cluster.outcomes(items, stop)
    from foundry_edge_runtime.streams.pool import Pool  # noqa: PLC0415 - rarely needed

    pool = Pool(bundle, setup, how.workers, notify)
    return pool, pool.outcomes(items, stop)


def _setup(bundle: Bundle, budget: Budget, options: Options, how: How, notify: Notify) -> Setup:
    """What the workers are told; whatever is measured for it is measured in processes, too."""
    from foundry_edge_runtime.streams.worker import Setup  # noqa: PLC0415

    if budget.backend is not None:
        available_backend(budget.backend)
    _, profile = select(bundle, budget, isolated=True, notify=notify)
    if how.adaptive:
        profile = quick_profile(bundle, budget, isolated=True, notify=notify).add(*profile.failures)
    return Setup(
        Path.cwd(),
        bundle.folder.resolve(),
        bundle.source,
        budget,
        how.strict,
        how.adaptive,
        profile,
        options,
        how.batch,
        how.parts,
        how.category,
    )
