"""`foundry-edge run`: scans in, results out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from foundry_edge_runtime.backends.registry import available_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.keeping import Keeper, Wanted
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import parse_columns
from foundry_edge_runtime.selection import Notify, quick_profile, select, silent
from foundry_edge_runtime.session import Session
from foundry_edge_runtime.streams import here
from foundry_edge_runtime.streams.batches import parse_batch
from foundry_edge_runtime.streams.inputs import Scans, outside, refuse_missing, refuse_mixture, scans_of
from foundry_edge_runtime.streams.items import Stop
from foundry_edge_runtime.streams.ledger import Ledger
from foundry_edge_runtime.streams.running import Running

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
    adaptive: bool = False,
    batch: int | str = 1,
    workers: int = 1,
    isolate: bool = False,
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
        strict: a budget that cannot be met, and an engine that fails, are errors.
        adaptive: hold ``max_latency_ms`` while conditions change, by switching engines.
        batch: how many scans to put through the engine at once; "auto" finds out.
        workers: how many processes compute.
        isolate: compute in a process of its own, so that a scan that takes it down is one failure.
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
    wanted.refuse(scans, ledger is not None)
    processes = isolate or workers != 1
    refuse_mixture(scans, ledger=ledger is not None, processes=processes)
    size = _batch(batch, workers, adaptive)
    refuse_missing(scans)
    opened = load_bundle(bundle)
    with ExitStack() as stack:
        book = None if ledger is None else stack.enter_context(closing(Ledger(ledger, opened.manifest.id)))
        keeper = Keeper(wanted, scans.root)
        stack.callback(keeper.close)
        items, stop = outside(scans, wanted.folder), Stop()
        items = items if book is None else book.remaining(items)
        if processes:
            from foundry_edge_runtime.streams.pool import Pool  # noqa: PLC0415 - rarely needed

            setup = _setup(opened, budget, strict, adaptive, options, size, notify)
            pool = stack.enter_context(closing(Pool(opened, setup, workers, notify)))
            running = Running(pool, scans, pool.outcomes(items, stop), stop, keeper, book)
        else:
            session = Session(opened, budget, strict=strict, adaptive=adaptive, notify=notify)
            stack.enter_context(session)
            outcomes = here.outcomes(session, items, options, stop, size or session.best_batch())
            running = Running(session, scans, outcomes, stop, keeper, book)
        stack.pop_all()
    return running


def _batch(batch: int | str, workers: int, adaptive: bool) -> int | None:
    size = parse_batch(batch)
    if workers < 1:
        raise InputError(f"--workers must be at least 1, found {workers}")
    if adaptive and size != 1:
        raise InputError("--adaptive holds the latency of single scans", remedy="leave out --batch")
    return size


def _setup(
    bundle: Bundle,
    budget: Budget,
    strict: bool,
    adaptive: bool,
    options: Options,
    batch: int | None,
    notify: Notify,
) -> Setup:
    """What the workers are told; whatever is measured for it is measured in processes, too."""
    from foundry_edge_runtime.streams.worker import Setup  # noqa: PLC0415

    if budget.backend is not None:
        available_backend(budget.backend)
    _, profile = select(bundle, budget, isolated=True, notify=notify)
    if adaptive:
        profile = quick_profile(bundle, budget, isolated=True, notify=notify).add(*profile.failures)
    return Setup(
        Path.cwd(), bundle.folder.resolve(), bundle.source, budget, strict, adaptive, profile, options, batch
    )
