"""Export a student: the public function behind `foundry-edge export`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from foundry_edge.load import load_student, model_folder
from foundry_edge.models.store import weights_sha256
from foundry_edge_calibration.clouds import DEFAULT_SAMPLES
from foundry_edge_calibration.methods import DEFAULT_METHOD
from foundry_edge_calibration.placement import DEFAULT_POLICY
from foundry_edge_export.build import build
from foundry_edge_export.bundle_files import assemble, merge, read_bundle, read_drafts
from foundry_edge_export.commit import check_replaceable, commit
from foundry_edge_export.draft import Draft
from foundry_edge_export.evaluation import load_evaluation
from foundry_edge_export.judged import check_judged_alike
from foundry_edge_export.latency import cpu_latencies
from foundry_edge_export.lock import locked
from foundry_edge_export.part_quality import part_quality
from foundry_edge_export.parts import find_head, make_parts, measured, old_parts, with_parts
from foundry_edge_export.plans import with_plans
from foundry_edge_export.progress import Progress, Silent
from foundry_edge_export.report import ExportReport, sizes_of
from foundry_edge_export.report_files import write_report
from foundry_edge_export.scene import make_scene, old_scene, scene_key, with_scene
from foundry_edge_export.settings import ExportSettings
from foundry_edge_export.size import Size
from foundry_edge_export.workshop import Workshop
from foundry_edge_runtime.bundle import Manifest
from foundry_edge_runtime.errors import BundleError, GateError, MissingExtraError, NewerBundleError
from foundry_edge_runtime.versions import versions

_LIBRARIES = ("foundry-edge", "torch", "onnx", "onnxscript", "onnxruntime")


def export(
    student: str | Path = "foundry-out/student",
    *,
    tokens: Sequence[int] = (4,),
    bypass: Sequence[int] = (0,),
    precision: Sequence[str] = ("int8",),
    out: str | Path = "foundry-out/bundle",
    backend: str = "onnx",
    calibration_data: str | Path | None = None,
    calibration_method: str = DEFAULT_METHOD,
    samples: int = DEFAULT_SAMPLES,
    quantize: str = DEFAULT_POLICY,
    keep_float: Sequence[str] = (),
    evaluation_data: str | Path | None = None,
    teacher: str | Path | None = None,
    sensitivity: bool = False,
    force: bool = False,
    scene: bool = False,
    parts_data: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExportReport:
    """Export rungs (every budget in every precision) into a bundle, measured and gated.

    A head for parts in the student's folder goes along: one more graph, for all rungs.

    Rungs are added to a bundle of the same student and replace rungs of the same name; a rung made from the
    same inputs is kept as it is. A bundle of another student is replaced once everything has succeeded. One
    whose other rungs were judged on other evaluation clouds is refused.

    Args:
        student: a folder made by `distill`, or ``embedded:student``.
        tokens: budgets s, each one of the student's.
        bypass: numbers of tokens k that a student's gate lets past DSO, chosen by rank; 0 merges all. Every
            budget is exported with each.
        precision: ``fp32``, ``fp16``, ``int8``, ``int8-fp16`` (INT8 with half precision, for GPUs).
        out: the bundle.
        backend: ``onnx``; ``tensorrt`` or ``tensorrt-rtx`` also build plans of the rungs, as `build` does.
        calibration_data: an .npz data set (training side), a scan or a folder of scans; None takes the
            training side of the embedded sample set.
        calibration_method: ``minmax``, ``percentile``, ``entropy`` or ``mse``.
        samples: calibration clouds.
        quantize: which maps are INT8, one of `foundry_edge_calibration.placement.POLICIES`; ``auto`` begins
            with ``wide`` and takes out the block that loses most until the gates are met.
        keep_float: modules left in float all the same, such as ``blocks.1``.
        evaluation_data: an .npz data set whose test side measures fidelity and accuracy; None takes the
            embedded sample set's.
        teacher: for fidelity; None takes the embedded teacher if the student was distilled from it.
        sensitivity: measure what each block alone loses in INT8, for every INT8 rung that is built.
        force: keep rungs that fail a gate, marked in the manifest.
        scene: add the graphs that `run --scene` needs. Those of the bundle are kept where it is not set.
        parts_data: the set of the student's head for parts; its test side measures the head with every rung.
        seed: of the draw of calibration clouds.
        progress: told of every step.

    Raises:
        InputError: an option, the student, the data or the place of the bundle is wrong.
        GateError: a rung failed a gate; the bundle is as before.
        EnvironmentFault: the disk is full, a library is missing or of the wrong version.
    """
    settings = ExportSettings(
        tokens=tuple(sorted(set(tokens))),
        bypass=tuple(sorted(set(bypass))),
        precision=tuple(dict.fromkeys(precision)),
        backend=backend,
        calibration_data=calibration_data,
        calibration_method=calibration_method,
        samples=samples,
        quantize=quantize,
        keep_float=tuple(keep_float),
        evaluation_data=evaluation_data,
        teacher=teacher,
        sensitivity=sensitivity,
        force=force,
        scene=scene,
        parts_data=parts_data,
        seed=seed,
    )
    settings.check()
    folder = Path(out).absolute()
    check_replaceable(folder)
    work = _Export(Path(student), settings, folder, progress or Silent())  # refuses before anything is made
    with locked(folder, waiting=lambda: _tell(progress, "waiting for another export into this bundle")):
        report = work.run()
    return report if backend == "onnx" else with_plans(report, settings, progress or Silent())


def _tell(progress: Progress | None, text: str) -> None:
    if progress is not None:
        progress.note(text)


class _Export:
    """One export: what it works on, read and checked; `run` is called under the bundle's lock."""

    def __init__(self, student: Path, settings: ExportSettings, folder: Path, progress: Progress) -> None:
        self.started = time.monotonic()
        self.settings, self.folder, self.progress = settings, folder, progress
        self.notes: list[str] = []
        progress.step("loading student and evaluation clouds")
        loaded = load_student(student)
        settings.check_tokens(loaded.config)
        settings.check_bypass(loaded.config)
        evaluation = load_evaluation(loaded.config, settings.teacher, settings.evaluation_data)
        digest = weights_sha256(model_folder(student))
        self.workshop = Workshop(loaded, digest, settings, evaluation, _versions(), self.progress)
        self.head = find_head(student, loaded, self.workshop.versions)
        settings.check_parts(self.head is not None)
        self._note(*evaluation.notes)

    def run(self) -> ExportReport:
        """Build what is missing, judge, write."""
        old = self._old_drafts()
        check_judged_alike(self.folder, self._kept(old), self.workshop.evaluation)
        asked = self._asked(old)
        failed = [draft for draft in asked if not draft.passed]
        if failed and not self.settings.force:
            self.progress.failed(self._report(asked, asked, None))
            raise _gate_error(failed)
        self.progress.step("writing the bundle")
        drafts = merge(old, asked)
        manifest, files = assemble(drafts, self.workshop.student.config, self.workshop.student_sha256)
        manifest, files = self._with_parts(*self._with_scene(manifest, files), drafts)
        commit(self.folder, manifest, files)
        report = self._report(asked, drafts, manifest)
        write_report(report)
        return report

    def _with_scene(self, manifest: Manifest, files: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
        """The bundle with the graphs for scenes: new ones if asked for, else those that it has."""
        workshop = self.workshop
        draft = old_scene(self.folder, workshop.student_sha256)
        key = scene_key(workshop.student_sha256, workshop.versions)
        if self.settings.scene and (draft is None or draft.about["key"] != key):
            self.progress.step("graphs for scenes")
            draft = make_scene(workshop.student, workshop.student_sha256, workshop.versions)
        return (manifest, files) if draft is None else with_scene(manifest, files, draft)

    def _with_parts(
        self, manifest: Manifest, files: dict[str, bytes], drafts: list[Draft]
    ) -> tuple[Manifest, dict[str, bytes]]:
        """The bundle with the graph for parts: of the student's head, else the one that it has."""
        student, data = self.workshop.student, self.settings.parts_data
        draft = old_parts(self.folder, self.workshop.student_sha256)
        if self.head is not None and (draft is None or draft.about["key"] != self.head.key):
            self.progress.step("graph for parts")
            draft = make_parts(self.head, student)
        if draft is None:
            return manifest, files
        if self.head is not None and data is not None:
            self.progress.step("measuring the head for parts")
            spec = student.config.teacher.preprocessing
            quality = part_quality(drafts, draft.model, self.head.head.config, spec, data)
            draft = measured(draft, manifest, quality)
        return with_parts(manifest, files, draft)

    def _old_drafts(self) -> list[Draft]:
        """The rungs to keep: those of the same student, if they are whole.

        Raises:
            NewerBundleError: what is there cannot be judged.
        """
        try:
            bundle = read_bundle(self.folder)
            if bundle is None:
                return []
            if bundle.manifest.student_sha256 == self.workshop.student_sha256:
                return read_drafts(bundle)
        except NewerBundleError:
            raise
        except BundleError as error:
            self._note(f"the bundle there is damaged and will be replaced ({error.where}: {error.problem})")
            return []
        old = bundle.manifest.id
        self._note(f"{self.folder.name} holds the bundle of another student ({old}), which will be replaced")
        return []

    def _kept(self, old: list[Draft]) -> list[Draft]:
        """The rungs of the bundle that were not asked for."""
        asked = {
            size.rung(precision) for size in self.settings.sizes for precision in self.settings.precision
        }
        return [draft for draft in old if draft.name not in asked]

    def _asked(self, old: list[Draft]) -> list[Draft]:
        """The rungs asked for, old ones where nothing has changed."""
        sizes, each = self.settings.sizes, len(self.settings.precision)
        asked: list[Draft] = []
        for done, size in enumerate(sizes):
            for draft in self._of_size(size, old):
                asked.append(draft)
                self.progress.advance(min(len(asked), each * (done + 1)), each * len(sizes))
        return asked

    def _of_size(self, size: Size, old: list[Draft]) -> Iterator[Draft]:
        known = {draft.key: draft for draft in old if draft.size == size}
        keys = {precision: self.workshop.key(size, precision) for precision in self.settings.precision}
        missing = tuple(precision for precision, key in keys.items() if key not in known)
        yield from merge([known[key] for key in keys.values() if key in known], [])
        if missing:
            yield from build(self.workshop, size, missing)

    def _report(self, asked: list[Draft], drafts: list[Draft], manifest: Manifest | None) -> ExportReport:
        """What was made; without a manifest, nothing of it was kept."""
        self.progress.step("timing the rungs")
        evaluation = self.workshop.evaluation
        return ExportReport(
            bundle=self.folder,
            bundle_id=manifest.id if manifest else "",
            student_sha256=self.workshop.student_sha256,
            rungs=tuple(merge(asked, [])),
            ladder=tuple(drafts),
            sizes=sizes_of(manifest) if manifest else {},
            latencies=cpu_latencies(drafts, evaluation.groups, evaluation.centers),
            notes=(*self.notes, *self.workshop.notes()),
            seconds=time.monotonic() - self.started,
            kept=manifest is not None,
            sensitivity=self.workshop.losses,
            parts=manifest.parts if manifest else None,
        )

    def _note(self, *lines: str) -> None:
        for line in lines:
            self.notes.append(line)
            self.progress.note(line)


def _versions() -> dict[str, str]:
    """Versions of the libraries that write and run graphs."""
    try:
        return versions(_LIBRARIES)
    except PackageNotFoundError as error:
        raise MissingExtraError(error.name, "export", "export") from error


def _gate_error(failed: list[Draft]) -> GateError:
    first = failed[0]
    gates = ", ".join(name for name, passed in first.gates.items() if not passed)
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return GateError(
        f"failed {gates}{more}; nothing was kept",
        where=first.name,
        remedy=f"try {first.advice}, or keep it with --force",
    )
