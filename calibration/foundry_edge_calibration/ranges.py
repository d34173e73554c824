"""Activation ranges: run the FP32 graph on calibration clouds and watch the tensors to be quantised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from foundry_edge_calibration.engine import Array, open_session, run_batches
from foundry_edge_calibration.histogram import Histogram
from foundry_edge_calibration.methods import threshold
from foundry_edge_runtime.errors import DataError

_GROWTH = 1.01


@dataclass(frozen=True)
class Coverage:
    """Whether more clouds would still widen the ranges.

    Attributes:
        tensors: tensors watched.
        growing: tensors whose largest magnitude grew by more than 1 % in the last quarter of the clouds.
        largest_growth: the largest such growth, as a factor.
    """

    tensors: int
    growing: int
    largest_growth: float


@dataclass(frozen=True)
class Observation:
    """Histograms of the watched tensors over the calibration clouds."""

    histograms: dict[str, Histogram]
    coverage: Coverage

    def ranges(self, method: str) -> dict[str, float]:
        """Tensor name -> clipping threshold, by one of `METHODS`."""
        return {name: threshold(method, histogram) for name, histogram in self.histograms.items()}


def observe(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    groups: Array,
    centers: Array,
    advance: Callable[[int], None] = lambda clouds: None,
    batch: int = 8,
) -> Observation:
    """Run the clouds, groups (M, c, K, 3) and centres (M, c, 3), and count the magnitudes of ``tensors``.

    Memory holds one batch of activations and one histogram per tensor, whatever M is.

    Raises:
        DataError: an activation is not finite.
    """
    histograms = {name: Histogram() for name in tensors}
    before_last_quarter: dict[str, float] = {}
    done, session = 0, open_session(_with_outputs(model, tensors))
    for values in run_batches(session, tensors, groups, centers, batch):
        if not before_last_quarter and 4 * done >= 3 * len(groups):
            before_last_quarter = {name: h.largest for name, h in histograms.items()}
        for name, value in zip(tensors, values, strict=True):
            _count(histograms[name], name, value)
        done += len(values[0])
        advance(len(values[0]))
    return Observation(histograms, _coverage(histograms, before_last_quarter))


def _count(histogram: Histogram, name: str, value: Array) -> None:
    try:
        histogram.add(value)
    except FloatingPointError:
        raise DataError(
            "an activation is not finite",
            where=name,
            remedy="train the student anew or check the calibration data",
        ) from None


def _coverage(histograms: dict[str, Histogram], before: dict[str, float]) -> Coverage:
    growth = [histograms[name].largest / largest for name, largest in before.items() if largest > 0]
    growing = sum(factor > _GROWTH for factor in growth)
    return Coverage(len(histograms), growing, max(growth, default=1.0))


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    for name in tensors:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return watched
