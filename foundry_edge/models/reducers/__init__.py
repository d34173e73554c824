"""Ways from c tokens to s: SuperTokens (DSO) and the baselines. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge.models.config import StudentConfig
from foundry_edge.models.dso import SupertokenAssignment
from foundry_edge.models.reducer import Reducer
from foundry_edge.models.reducers.fps import NearestCentre
from foundry_edge.models.reducers.kmeans import KMeans
from foundry_edge.models.reducers.patch_merger import PatchMerger
from foundry_edge.models.reducers.tome import TokenMerging
from foundry_edge_runtime.errors import CheckpointError

REDUCERS: dict[str, Callable[[int, int, StudentConfig], Reducer]] = {
    "dso": lambda width, most, config: SupertokenAssignment(width, most, config.query, config.routing),
    "fps": lambda width, most, _: NearestCentre(width),
    "kmeans": lambda width, most, _: KMeans(width),
    "tome": lambda width, most, _: TokenMerging(width),
    "patchmerger": lambda width, most, _: PatchMerger(width, most),
}


def make_reducer(config: StudentConfig) -> Reducer:
    """The reducer that ``config.method`` names.

    Raises:
        CheckpointError: there is no such method.
    """
    if config.method not in REDUCERS:
        raise CheckpointError(
            f"field method: expected one of {', '.join(REDUCERS)}, found {config.method!r}",
            remedy="update foundry-edge, or distil again",
        )
    return REDUCERS[config.method](config.teacher.width, max(config.tokens), config)
