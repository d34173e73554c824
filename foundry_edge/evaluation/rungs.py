"""What is judged: a model at one budget, in torch or as an exported rung in its own engine."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from foundry_edge import models
from foundry_edge.load import load_model, model_digest, model_folder
from foundry_edge.measures.features import Encode, at
from foundry_edge.models.config import HEAD_FIELDS
from foundry_edge.models.model import Model, budgets_of, require_budgets
from foundry_edge.models.store import CONFIG, encoder_sha256
from foundry_edge_runtime.backends import DEFAULT, available_backend
from foundry_edge_runtime.backends.base import Engine
from foundry_edge_runtime.bundle import Bundle, load_bundle
from foundry_edge_runtime.bundle.locate import EMBEDDED as EMBEDDED_BUNDLE
from foundry_edge_runtime.bundle.manifest import MANIFEST, rung_name
from foundry_edge_runtime.bundle.manifest import Rung as ManifestRung
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import Preprocessing

BUNDLE = "embedded:bundle"
TORCH_PRECISION = "fp32"
_EXPORTED = "give the bundle exported from it"


@dataclass(frozen=True)
class EvaluatedRung:
    """One (tokens, precision) pair of a model.

    Attributes:
        tokens: the budget; None where the model has none (a teacher).
        precision: fp32, fp16, int8 or int8-fp16.
        preprocessing: how points become groups.
        width: d.
        encode: groups (B, c, K, 3) and centres (B, c, 3) to features (B, c, d).
        digest: of the weights and all that decides the features.
        teacher_sha256: of the teacher it was distilled from; empty when unknown.
        bypassed: tokens that a gate lets past DSO, of an engine.
        model: the network behind it; None for an engine, which cannot be trained.
        close: gives back what ``encode`` has loaded.
    """

    tokens: int | None
    precision: str
    preprocessing: Preprocessing
    width: int
    encode: Encode
    digest: str
    teacher_sha256: str = ""
    bypassed: int = 0
    model: Model | None = None
    close: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """For example ``s4-int8``; ``full-fp32`` where there is no budget."""
        if self.tokens is None:
            return f"full-{self.precision}"
        return rung_name(self.tokens, self.precision, self.bypassed)


def open_rungs(
    model: str | Path,
    tokens: tuple[int, ...] | None = None,
    precision: str | None = None,
    backend: str = DEFAULT,
) -> list[EvaluatedRung]:
    """The rungs of a model, fewest tokens first.

    Args:
        model: folder of a teacher, student or baseline, or of a bundle; a published .ckpt or .pth file;
            ``embedded:teacher``, ``embedded:student`` or ``embedded:bundle``.
        tokens: budgets to take; None takes all.
        precision: precision to take; None takes all. A network in torch is fp32.
        backend: that runs the engines of a bundle.

    Raises:
        CheckpointError: no such model, or it is damaged.
        BundleError: the bundle is damaged.
        InputError: the model has no such rung.
        BackendError: the backend is not there.
    """
    folder = EMBEDDED_BUNDLE if str(model) == BUNDLE else Path(model)
    if str(model) == BUNDLE or (folder / MANIFEST).is_file():
        rungs = _engines(load_bundle(folder), tokens, precision, backend)
    else:
        rungs = _torch_rungs(model, tokens, precision, backend)
    if not rungs:
        wanted = ", ".join(str(w) for w in (tokens, precision) if w is not None)
        raise InputError(
            f"has no rung with {wanted}", where=str(model), remedy="leave out --tokens and --precision"
        )
    return rungs


def _torch_rungs(
    name: str | Path, tokens: tuple[int, ...] | None, precision: str | None, backend: str
) -> list[EvaluatedRung]:
    if backend != DEFAULT:
        raise InputError("runs engines, and this is a network in torch", where="--backend", remedy=_EXPORTED)
    if precision not in (None, TORCH_PRECISION):
        raise InputError(
            f"a network in torch is {TORCH_PRECISION}, not {precision}",
            where="--precision",
            remedy=_EXPORTED,
        )
    model = load_model(name)
    digest = feature_digest(name)
    return [torch_rung(model, budget, digest) for budget in budgets_of(model, tokens)]


def torch_rung(model: Model, tokens: int | None, digest: str) -> EvaluatedRung:
    """A network at one budget, on the GPU where there is one; features come back to the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.module.to(device)
    return EvaluatedRung(
        tokens=tokens,
        precision=TORCH_PRECISION,
        preprocessing=model.preprocessing,
        width=model.width,
        encode=at(device, lambda groups, centers: model.encode_groups(groups, centers, tokens)),
        digest=f"{digest}-{tokens}-{code_digest(models)}",
        teacher_sha256=str(getattr(model.config, "teacher_sha256", "")),
        model=model,
    )


def _engines(
    bundle: Bundle, tokens: tuple[int, ...] | None, precision: str | None, backend: str
) -> list[EvaluatedRung]:
    known = {rung.tokens for rung in bundle.manifest.rungs}
    require_budgets(str(bundle.folder), tokens, tuple(sorted(known)))
    chosen = [
        rung
        for rung in bundle.manifest.rungs
        if (tokens is None or rung.tokens in tokens) and precision in (None, rung.precision)
    ]
    chosen.sort(key=lambda rung: (rung.tokens, rung.bypassed, rung.precision))
    return [_engine(bundle, rung, backend) for rung in chosen]


def _engine(bundle: Bundle, rung: ManifestRung, backend: str) -> EvaluatedRung:
    manifest, engine = bundle.manifest, _LazyEngine(bundle, rung, backend)
    return EvaluatedRung(
        tokens=rung.tokens,
        precision=rung.precision,
        preprocessing=manifest.preprocessing,
        width=manifest.width,
        encode=engine,
        digest=f"{rung.graph.sha256}-{rung.weights.sha256}-{backend}",
        teacher_sha256=manifest.teacher_sha256,
        bypassed=rung.bypassed,
        close=engine.close,
    )


class _LazyEngine:
    """An engine that is loaded at its first batch."""

    def __init__(self, bundle: Bundle, rung: ManifestRung, backend: str) -> None:
        self._bundle, self._rung = bundle, rung
        self._backend = available_backend(backend)
        self._engine: Engine | None = None

    def __call__(self, groups: Tensor, centers: Tensor) -> Tensor:
        if self._engine is None:
            graph = self._bundle.graph(self._rung)
            self._engine = self._backend.load(graph, self._bundle.manifest.preprocessing)
        arrays = (np.ascontiguousarray(part.numpy(), dtype=np.float32) for part in (groups, centers))
        return torch.from_numpy(self._engine.run(*arrays).tokens)

    def close(self) -> None:
        """Give the engine back; the next call loads it again."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None


def feature_digest(name: str | Path) -> str:
    """SHA-256 over what decides a model's features: its configuration and weights, but for its head.

    Of a published file it is that of the whole file.

    Raises:
        CheckpointError: there is no such model.
    """
    return model_digest(name) if Path(name).is_file() else _folder_digest(model_folder(name))


def _folder_digest(folder: Path) -> str:
    config = json.loads((folder / CONFIG).read_bytes())
    for part in (config, config.get("teacher", {})):
        for field in HEAD_FIELDS:
            part.pop(field, None)
    kept = json.dumps(config, sort_keys=True) + encoder_sha256(folder)
    return hashlib.sha256(kept.encode()).hexdigest()


@functools.cache
def code_digest(*packages: ModuleType) -> str:
    """Of the code of ``packages``: what the cache keeps was made by this code."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(next(iter(package.__path__))).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
