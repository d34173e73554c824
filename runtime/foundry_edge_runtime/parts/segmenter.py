"""From the features of a scan to the part of each of its points, a block of points at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.backends.cpu_graph import CpuGraph
from foundry_edge_runtime.backends.registry import DEFAULT
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import PartCategory
from foundry_edge_runtime.errors import BackendError, BundleError
from foundry_edge_runtime.grouping import to_model_frame
from foundry_edge_runtime.interpolation import nearest_centres
from foundry_edge_runtime.parts.category import Categories, parts_of, refuse_without_parts
from foundry_edge_runtime.parts.form import PARTS
from foundry_edge_runtime.parts.result import PartResult
from foundry_edge_runtime.pointcloud import FloatArray, PointCloud

BLOCK = 1 << 13
"""Points in one call of the graph, about 20 MB of its memory."""


LEAST_SCORE = 0.1
"""Of the class, where no category was named: below it the points get no parts."""


class Segmented(NamedTuple):
    """Parts, None where no category is likely; and a warning, "" where nothing is doubtful."""

    parts: PartResult | None
    warning: str


class Segmenter:
    """Names the part of every point.

    Args:
        bundle: has a head for parts.
        category: whose parts; None takes the most probable class that has parts, scan by scan.

    Raises:
        InputError: see `Categories`.
        BundleError: a file is not what the manifest says, or the graph is not of the form expected.
        BackendError: ONNX Runtime is missing or cannot load the graph.
    """

    def __init__(self, bundle: Bundle, category: str | None = None) -> None:
        self._section, self._manifest = parts_of(bundle), bundle.manifest
        self._categories = Categories(bundle, category)
        self._graph = CpuGraph(bundle.graph(self._section.files), PARTS, "the head for parts")

    def parts(
        self, cloud: PointCloud, tokens: FloatArray, centers: FloatArray, logits: FloatArray | None
    ) -> Segmented:
        """The part of every point of a cloud, unless no category is likely.

        Args:
            cloud: N points.
            tokens: (c, d) float32, of its groups.
            centers: (c, 3) float32, of its groups.
            logits: (labels,) float32, None where the engine has no head.

        Raises:
            InputError: no category was named and the engine names no class.
            BackendError: the graph failed.
            BundleError: the graph gives fewer parts than the manifest names.
        """
        started = time.perf_counter()
        number, score = self._categories.choose(logits)
        entry = self._section.categories[number]
        unnamed = 1.0 if self._categories.named or score is None else score
        if unnamed < LEAST_SCORE:
            best = f"the best, {entry.name}, scores {unnamed:.2f}"
            return Segmented(None, f"no class that has parts is likely ({best}); name one with --category")
        points = to_model_frame(cloud.xyz, self._manifest.preprocessing)
        blocks = self._blocks(points, tokens, centers, number, entry)
        found = PartResult(
            category=entry.name,
            score=score,
            named=self._categories.named,
            names=entry.names,
            part=np.concatenate(list(blocks)),
            ms=(time.perf_counter() - started) * 1e3,
        )
        return Segmented(found, self._doubt(entry.name, unnamed))

    def _doubt(self, category: str, score: float) -> str:
        least = self._manifest.min_score
        if score >= least:
            return ""
        return (
            f"the parts are those of {category}, which scores {score:.2f}, below {least:g}; "
            "name another with --category"
        )

    def _blocks(
        self, points: FloatArray, tokens: FloatArray, centers: FloatArray, number: int, entry: PartCategory
    ) -> Iterator[npt.NDArray[np.int32]]:
        allowed, category = list(entry.parts), np.array([number], np.int64)
        for start in range(0, len(points), BLOCK):
            xyz = points[start : start + BLOCK]
            index, weight = nearest_centres(xyz, centers)
            inputs = (tokens[None], index[None], weight[None].astype(np.float32), xyz[None], category)
            (logits,) = self._graph.run(*inputs)
            if max(allowed) >= logits.shape[2]:
                raise BundleError(
                    f"the graph gives {logits.shape[2]} parts, the manifest names more",
                    where=self._section.graph.name,
                )
            if not np.isfinite(logits).all():
                raise BackendError("the head for parts gave numbers that are not finite", where=DEFAULT)
            yield logits[0][:, allowed].argmax(axis=1).astype(np.int32)


def segmenter(bundle: Bundle, parts: bool, category: str | None) -> Segmenter | None:
    """What `run --parts` needs; None without it.

    Raises:
        InputError: a category was named without asking for parts; see also `Segmenter`.
    """
    if parts:
        return Segmenter(bundle, category)
    refuse_without_parts(parts, category)
    return None
