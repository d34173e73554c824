"""The plans on this machine: written whole, and read back as checked bytes or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from foundry_edge_runtime.bundle.manifest import FileRef
from foundry_edge_runtime.errors import StorageError
from foundry_edge_runtime.files import is_stale, replacing
from foundry_edge_runtime.plans.folder import opened, plan_folder, read_own, secure
from foundry_edge_runtime.plans.manifest import PlanKey, PlanManifest, PlanRefusal, stem_prefix
from foundry_edge_runtime.plans.matching import judge, preference
from foundry_edge_runtime.plans.outcome import PlanOutcome, PlanRequest, PlanState
from foundry_edge_runtime.plans.sealed import SealError, seal, unseal

MAX_RECORD_BYTES = 1 << 20
_MANIFEST, _REFUSAL = ".manifest.json", ".refused.json"
_DATA = re.compile(r"^(.+)-[0-9a-f]{12}\.(plan|layers\.json)$")
_PARTIAL = re.compile(r"^\..*\.partial$")
_TOLD = list(PlanState)


class PlanStore:
    """Plans in one folder.

    A plan's file is named after its content and its manifest is renamed into place last, so whatever the
    moment a writer dies at, readers find the old plan or the new one. What nothing names any more is swept
    by the next writer.

    Args:
        folder: None takes the user's cache folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = plan_folder() if folder is None else Path(folder)

    def secure(self) -> str:
        """Make the folder safe before building; see `secure`."""
        return secure(self.folder)

    def load(self, wanted: PlanRequest) -> PlanOutcome:
        """The bytes of a plan that may run here, or why there is none; nothing is deserialised.

        One built on this very device comes before one that was built ahead. What seems damaged is read a
        second time: a builder may have put another in its place meanwhile.
        """
        outcome = self._load(wanted)
        return self._load(wanted) if outcome.state is PlanState.CORRUPT else outcome

    def _load(self, wanted: PlanRequest) -> PlanOutcome:
        try:
            with opened(self.folder) as descriptor:
                found = [
                    outcome
                    for name in _names(descriptor, stem_prefix(wanted.backend, wanted.graph_sha256))
                    for outcome in _examined(descriptor, name, wanted)
                ]
                return self._first_whole(descriptor, found, wanted)
        except FileNotFoundError:
            return _missing(wanted)
        except StorageError as error:
            return PlanOutcome(wanted, PlanState.UNSAFE, f"{error.where} {error.problem}")

    def _first_whole(self, descriptor: int, found: list[PlanOutcome], wanted: PlanRequest) -> PlanOutcome:
        failed: list[PlanOutcome] = []
        for outcome in sorted(found, key=_order):
            if outcome.state is not PlanState.READY:
                failed.append(outcome)
                continue
            whole = _with_bytes(descriptor, outcome)
            if whole.state is PlanState.READY:
                return whole
            failed.append(whole)
        return min(failed, key=lambda one: _TOLD.index(one.state), default=_missing(wanted))

    def save(self, manifest: PlanManifest, plan: bytes, layers: bytes | None = None) -> PlanManifest:
        """Keep a plan in the place of older ones of the same rung, library and device.

        Those are of the same key, of a version that is gone, or of another batch profile.

        Args:
            manifest: its ``plan`` and ``layers`` are filled in here.
            plan: the serialised engine.
            layers: the inspector's JSON.

        Returns:
            The manifest as it was stored.

        Raises:
            StorageError: the folder cannot be trusted or written, or the disk is full.
        """
        secure(self.folder)
        stem = manifest.key.stem
        files = {"plan": _ref(stem, ".plan", plan)}
        if layers is not None:
            files["layers"] = _ref(stem, ".layers.json", layers)
        stored = manifest.model_copy(update={"layers": None, **files})
        self._write(files["plan"].name, plan)
        if layers is not None:
            self._write(files["layers"].name, layers)
        self._write(stem + _MANIFEST, seal(stored))
        self._supersede(stored)
        (self.folder / (stem + _REFUSAL)).unlink(missing_ok=True)
        self._sweep()
        return stored

    def update(self, manifest: PlanManifest) -> None:
        """Replace the manifest of a plan that is kept, e.g. once it was checked on the device."""
        secure(self.folder)
        self._write(manifest.key.stem + _MANIFEST, seal(manifest))

    def refuse(self, refusal: PlanRefusal) -> None:
        """Remember that the compiler does not take a rung; a plan of the same key is removed.

        Raises:
            StorageError: as `save`.
        """
        secure(self.folder)
        self._write(refusal.key.stem + _REFUSAL, seal(refusal))
        (self.folder / (refusal.key.stem + _MANIFEST)).unlink(missing_ok=True)
        self._sweep()

    def discard(self, key: PlanKey) -> None:
        """Remove a plan that must not be used, e.g. because it computes something else than its graph."""
        secure(self.folder)
        (self.folder / (key.stem + _MANIFEST)).unlink(missing_ok=True)
        self._sweep()

    def manifests(self) -> list[PlanManifest]:
        """Every plan whose manifest is whole, whatever device it is for; [] where the folder is not safe."""
        try:
            with opened(self.folder) as descriptor:
                return list(_manifests(descriptor))
        except (FileNotFoundError, StorageError):
            return []

    def _write(self, name: str, content: bytes) -> None:
        with replacing(self.folder / name) as partial:
            partial.write_bytes(content)

    def _supersede(self, manifest: PlanManifest) -> None:
        """Remove the manifests of plans that another has taken the place of."""
        for other in self.manifests():
            if other.key != manifest.key and _place(other.key) == _place(manifest.key):
                (self.folder / (other.key.stem + _MANIFEST)).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what killed writers left and what no manifest names."""
        with opened(self.folder) as descriptor:
            named = {
                ref.name
                for one in _manifests(descriptor)
                for ref in (one.plan, one.layers)
                if ref is not None
            }
        for path in self.folder.iterdir():
            leftover = _PARTIAL.match(path.name) or (_DATA.match(path.name) and path.name not in named)
            if leftover and is_stale(path):
                path.unlink(missing_ok=True)


def _place(key: PlanKey) -> tuple[str, ...]:
    """What there is one plan of."""
    return key.graph_sha256, key.weights_sha256, key.backend, key.device.gpu


def _names(descriptor: int, prefix: str = "") -> list[str]:
    return sorted(name for name in os.listdir(descriptor) if name.startswith(prefix))


def _manifests(descriptor: int) -> Iterator[PlanManifest]:
    for name in _names(descriptor):
        if name.endswith(_MANIFEST):
            try:
                yield unseal(read_own(descriptor, name, MAX_RECORD_BYTES), PlanManifest)
            except (ValueError, SealError):
                continue  # `load` says so when that plan is asked for


def _examined(descriptor: int, name: str, wanted: PlanRequest) -> Iterator[PlanOutcome]:
    """What a manifest or a refusal means for the request; nothing for other files."""
    kind: type[PlanManifest] | type[PlanRefusal]
    if name.endswith(_MANIFEST):
        kind, suffix = PlanManifest, _MANIFEST
    elif name.endswith(_REFUSAL):
        kind, suffix = PlanRefusal, _REFUSAL
    else:
        return
    try:
        record = unseal(read_own(descriptor, name, MAX_RECORD_BYTES), kind)
    except ValueError as error:
        yield _corrupt(wanted, f"its manifest {name} {error}")
        return
    if record.key.stem + suffix != name:
        yield _corrupt(wanted, f"its manifest {name} is that of another model or device")
        return
    yield _judged(record, wanted)


def _judged(record: PlanManifest | PlanRefusal, wanted: PlanRequest) -> PlanOutcome:
    state, reason = judge(record.key, wanted)
    if isinstance(record, PlanManifest):
        text = f"the plan kept for {wanted.name} {reason}" if reason else ""
        return PlanOutcome(wanted, state, text, manifest=record)
    if state is not PlanState.READY:
        return _missing(wanted)  # refused elsewhere, or by another version: worth another try
    instead = f"; {record.instead} takes its place" if record.instead else ""
    reason = f"{wanted.backend} {record.key.version} refuses {record.rung}: {record.reason}{instead}"
    return PlanOutcome(wanted, PlanState.REFUSED, reason, refusal=record)


def _with_bytes(descriptor: int, outcome: PlanOutcome) -> PlanOutcome:
    """The outcome with the plan's bytes, after their size and hash were found to be the manifest's."""
    manifest, wanted = outcome.manifest, outcome.request
    if manifest is None:
        return outcome
    ref = manifest.plan
    try:
        content = read_own(descriptor, ref.name, ref.bytes)
    except ValueError as error:
        return _corrupt(wanted, f"{ref.name} {error}")
    if len(content) != ref.bytes or hashlib.sha256(content).hexdigest() != ref.sha256:
        return _corrupt(wanted, f"{ref.name} does not have the hash in its manifest")
    return PlanOutcome(wanted, PlanState.READY, plan=content, manifest=manifest)


def _order(outcome: PlanOutcome) -> tuple[bool, int, str]:
    return (True, 0, outcome.reason) if outcome.manifest is None else preference(outcome.manifest)


def _missing(wanted: PlanRequest) -> PlanOutcome:
    reason = f"no plan of {wanted.backend} {wanted.version} has been built for it on this machine"
    return PlanOutcome(wanted, PlanState.MISSING, reason)


def _corrupt(wanted: PlanRequest, what: str) -> PlanOutcome:
    return PlanOutcome(wanted, PlanState.CORRUPT, f"the plan kept for {wanted.name} is not used: {what}")


def _ref(stem: str, suffix: str, content: bytes) -> FileRef:
    digest = hashlib.sha256(content).hexdigest()
    return FileRef(name=f"{stem}-{digest[:12]}{suffix}", bytes=len(content), sha256=digest)
