"""A bundle on disk, checked before any of it is used."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from foundry_edge_runtime.bundle.checks import check_file, open_inside, read_checked
from foundry_edge_runtime.bundle.external_data import check_external_data
from foundry_edge_runtime.bundle.locate import EMBEDDED, Source, locate_bundle
from foundry_edge_runtime.bundle.manifest import MANIFEST, SCHEMA, FileRef, Manifest, Rung, StageFiles
from foundry_edge_runtime.errors import BundleError, InputError, NewerBundleError

MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True)
class Graph:
    """An ONNX graph that may be handed to an engine: hash, size and external data were checked.

    Attributes:
        name: file name, for messages.
        content: the serialised ModelProto.
        folder: where its external data lie.
        sha256, weights_sha256: of its files, as the manifest states them; plans are looked up by them.
        precision: of the rung.
    """

    name: str
    content: bytes
    folder: Path
    sha256: str = ""
    weights_sha256: str = ""
    precision: str = "fp32"


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest was read and checked, its files are checked when they are used.

    Attributes:
        folder: where it lies.
        source: how it was found.
        manifest: preprocessing, labels, rungs.
    """

    folder: Path
    source: Source
    manifest: Manifest
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    def graph(self, rung: Rung | StageFiles) -> Graph:
        """The graph of a rung, of a stage of a scene or for parts, after it and its weights were checked.

        Weights are checked once per bundle object.

        Raises:
            BundleError: a file is missing, altered, a link, or refers to anything outside the bundle.
        """
        content = self._checked_graph(rung)
        if rung.weights.name not in self._checked:
            check_file(self.folder, rung.weights, hard_links=self._installed)
            self._checked.add(rung.weights.name)
        hashes = rung.graph.sha256, rung.weights.sha256
        precision = rung.precision if isinstance(rung, Rung) else "fp32"
        return Graph(rung.graph.name, content, self.folder.resolve(), *hashes, precision)

    def verify(self) -> tuple[FileRef, ...]:
        """Check every file that the manifest names.

        Returns:
            The files, each once.

        Raises:
            BundleError: see `graph`; the first file found wrong.
        """
        scene = self.manifest.scene
        graphs: list[Rung | StageFiles] = [*self.manifest.rungs]
        graphs += [] if scene is None else [scene.stage(name) for name in scene.graphs]
        graphs += [] if self.manifest.parts is None else [self.manifest.parts.files]
        for one in graphs:
            self._checked_graph(one)
        for ref in self.manifest.files():
            check_file(self.folder, ref, hard_links=self._installed)
        return self.manifest.files()

    def _checked_graph(self, rung: Rung | StageFiles) -> bytes:
        content = read_checked(self.folder, rung.graph, hard_links=self._installed)
        weights = {rung.weights.name: rung.weights.bytes}
        check_external_data(content, self.folder / rung.graph.name, weights)
        return content

    @property
    def _installed(self) -> bool:
        """Whether it came with the package: some package managers install by hard link."""
        return self.folder.resolve() == EMBEDDED


def load_bundle(path: str | os.PathLike[str] | None = None) -> Bundle:
    """Find and open a bundle (see `locate_bundle` for the order of places).

    Args:
        path: the folder, or None for the default one.

    Raises:
        BundleError: none found, or its manifest is not of this schema.
    """
    folder, source = locate_bundle(path)
    return Bundle(folder, source, read_manifest(folder, hard_links=folder.resolve() == EMBEDDED))


def opened(bundle: Bundle | None) -> Bundle:
    """The bundle given to a session, or the default one.

    Raises:
        InputError: it is something else, such as the name of a folder.
        BundleError: see `load_bundle`.
    """
    if bundle is None:
        return load_bundle()
    if not isinstance(bundle, Bundle):
        raise InputError(
            f"bundle must be what load_bundle gives, found {bundle!r}", remedy="give load_bundle(folder)"
        )
    return bundle


def read_manifest(folder: Path, *, hard_links: bool = False) -> Manifest:
    """Read and check a bundle's manifest.json.

    Raises:
        BundleError: it is missing, a link, too large, no JSON, or not of this schema (the first wrong
            field is named).
        NewerBundleError: its schema is newer than this one's.
    """
    path = folder / MANIFEST
    with os.fdopen(open_inside(folder, MANIFEST, hard_links=hard_links), "rb") as stream:
        content = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(f"is larger than {MAX_MANIFEST_BYTES} bytes", where=path)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        _refuse_newer(error, path)
        raise BundleError(_first_problem(error), where=path, remedy="export the bundle again") from error


def _refuse_newer(error: ValidationError, path: Path) -> None:
    """Whatever else a newer schema changed, its number is what is wrong."""
    for one in error.errors(include_url=False):
        if one["loc"] == ("schema_version",) and one["type"] == "less_than_equal":
            problem = f"made by a newer foundry-edge (schema {one['input']}, this one reads up to {SCHEMA})"
            raise NewerBundleError(problem, where=path, remedy="upgrade foundry-edge") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole file"
    found = str(first["input"])
    shown = "" if first["type"] in {"missing", "json_invalid"} else f", found {found[:60]!r}"
    more = error.error_count() - 1
    return f"{field}: {first['msg']}{shown}" + (f" (and {more} more)" if more else "")
