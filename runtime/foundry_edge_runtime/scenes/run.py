"""`foundry-edge run --scene`: scans in, each as one sequence of groups, results out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.errors import FoundryEdgeError, InputError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.keeping import Wanted
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import parse_columns, read_each
from foundry_edge_runtime.save import feature_file
from foundry_edge_runtime.scenes.encoding import OnProgress
from foundry_edge_runtime.scenes.result import SceneResult
from foundry_edge_runtime.scenes.save import SUFFIX, save_scene
from foundry_edge_runtime.scenes.session import SceneSession
from foundry_edge_runtime.streams.inputs import Scans, refuse_missing, scans_of


def run_scene(
    scan: str | os.PathLike[str] | Scans,
    *,
    bundle: str | os.PathLike[str] | None = None,
    tokens: int | None = None,
    max_memory_mb: float | None = None,
    backend: str | None = None,
    save: str | os.PathLike[str] | None = None,
    per_point: bool = False,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Iterator[SceneResult | Failure]:
    """Compute scans of any number of points, each whole: no point is left out, no part is computed apart.

    Args:
        scan: file, folder or "-" (see `scans_of`), or what `scans_of` made of it.
        bundle: a folder; None takes the default one (see `load_bundle`).
        tokens: s, one of the bundle's budgets for scenes; None takes the largest.
        max_memory_mb: highest peak resident memory of the process in MiB; chunk sizes follow from it.
        backend: None or "onnxruntime".
        save: folder for one npz a scan.
        per_point: with a folder, write the features and colours of every point, too (npy and PLY).
        salvage, columns, topic, vertices, seed: see `read_points`.
        on_progress: told (stage, groups done, groups in all).

    Yields:
        Results in order. For a folder or list a scan that cannot be read or computed gives a `Failure`.

    Raises:
        InputError: no such scan, a wrong option, a bundle without scene graphs, a scene that does not fit
            into the memory allowed.
        EnvironmentFault: ONNX Runtime is missing, or a result cannot be saved.
    """
    folder = _folder(save, per_point)
    scans = scan if isinstance(scan, Scans) else scans_of(scan)
    if scans.live is not None:
        raise InputError("--scene takes files, not a live topic", remedy="save the scans to files first")
    refuse_missing(scans)
    options = Options(salvage, parse_columns(columns), topic, vertices, seed)
    session = SceneSession(load_bundle(bundle), tokens=tokens, max_memory_mb=max_memory_mb, backend=backend)
    return _results(session, scans, options, folder, per_point, on_progress)


def _folder(save: str | os.PathLike[str] | None, per_point: bool) -> Path | None:
    wanted = Wanted(save, per_point)
    if wanted.parquet:
        raise InputError("--scene saves one npz a scan", where="--save", remedy="give a folder")
    return wanted.folder


def _results(
    session: SceneSession,
    scans: Scans,
    options: Options,
    folder: Path | None,
    per_point: bool,
    on_progress: OnProgress,
) -> Iterator[SceneResult | Failure]:
    with session:
        for item in scans.items:
            if item is None:
                continue
            for outcome in _of_input(session, item.name, options, on_progress):
                if isinstance(outcome, Failure) and not scans.many and outcome.scan is None:
                    raise outcome.error
                if isinstance(outcome, Failure) or folder is None:
                    yield outcome
                else:
                    path = feature_file(item.name, folder, scans.root, outcome.scan, SUFFIX)
                    yield save_scene(outcome, path, per_point=per_point)


def _of_input(
    session: SceneSession, name: str, options: Options, on_progress: OnProgress
) -> Iterator[SceneResult | Failure]:
    """The scenes of one input; an unreadable one as its error, after which nothing more comes."""
    number: int | None = None
    scans = read_each(name, options)
    while True:
        started = time.perf_counter()
        try:
            number, cloud = next(scans, (number, None))
        except FoundryEdgeError as error:
            yield Failure(name, error, None if number is None else number + 1)
            return
        if cloud is None:
            return
        if isinstance(cloud, FoundryEdgeError):
            yield Failure(name, cloud, number)
            continue
        read_ms = (time.perf_counter() - started) * 1e3
        try:
            result = session.run(cloud, read_ms=read_ms, on_progress=on_progress)
        except InputError as error:
            yield Failure(name, error, number)
        else:
            yield replace(result, scan=number)
