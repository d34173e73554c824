"""Where the protocols that train keep their checkpoints: a run goes on only as what it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

from foundry_edge import models, training
from foundry_edge.data.shape_set import ShapeSet, data_digest
from foundry_edge.evaluation.rungs import code_digest
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.cache import cache_folder


def training_folder(protocol: str, shapes: ShapeSet, settings: TrainSettings, *made_of: object) -> Path:
    """The folder in the user's cache for one training.

    It is another one for other points, labels, classes, sides or parts, for other settings, and for other
    code of networks or training.

    Args:
        protocol: its name.
        shapes: what is trained on and judged by.
        settings: of the training.
        made_of: everything else that decides the result; told apart by their ``repr``.
    """
    parts = (data_digest([shapes]), settings.recipe(), code_digest(models, training), made_of)
    return cache_folder() / protocol / hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
