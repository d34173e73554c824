"""Plans right after an export: what `foundry-edge build` does, for the rungs that were asked for."""

from __future__ import annotations

from dataclasses import replace

from foundry_edge_export.progress import Progress
from foundry_edge_export.report import ExportReport
from foundry_edge_export.settings import ExportSettings
from foundry_edge_export.tensorrt.builder import build


class _Steps:
    """A build's progress, told as that of an export."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.note = progress.note

    def building(self, rung: str, last_seconds: float | None) -> None:
        """A step."""
        known = "" if last_seconds is None else f" (took {last_seconds:.0f} s the last time)"
        self._progress.step(f"{rung}: building its plan{known}")

    def checking(self, rung: str) -> None:
        """A step."""
        self._progress.step(f"{rung}: checking its plan")


def with_plans(report: ExportReport, settings: ExportSettings, progress: Progress) -> ExportReport:
    """The report, with a note on the plan of each rung.

    Raises:
        BackendError: nothing can be built here; the bundle is complete all the same.
        StorageError: the cache of plans cannot be trusted or written.
    """
    made = build(
        report.bundle,
        backend=settings.backend,
        tokens=settings.tokens,
        precision=settings.precision,
        progress=_Steps(progress),
    )
    lines = [
        f"{one.rung.name}: plan of {one.manifest.plan.bytes / 2**20:.1f} MiB by {settings.backend}, "
        f"{one.state}, {one.manifest.checked}"
        for one in made.rungs
        if one.manifest is not None
    ]
    for line in lines:
        progress.note(line)
    return replace(report, notes=(*report.notes, *made.notes, *lines))
