"""ONNX Runtime on graphs held in memory, for measuring; the runtime package has its own for deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from foundry_edge_runtime.backends.threads import set_threads
from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.errors import BackendError

Array = npt.NDArray[np.float32]
_QUIET = 3


def open_session(model: onnx.ModelProto, threads: int | None = None, literal: bool = False) -> Any:
    """A CPU session of a self-contained model.

    Args:
        model: weights inside.
        threads: None takes all CPUs.
        literal: run the nodes as written, none fused or folded. Half precision is computed in float32 all
            the same.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    set_threads(options, threads or usable_cpus())
    if literal:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no narrower base class
        reason = " ".join(str(error).split())[:300]
        raise BackendError(f"ONNX Runtime refuses the graph: {reason}", where="onnxruntime") from error


def run_batches(
    session: Any, names: Sequence[str], groups: Array, centers: Array, batch: int = 8
) -> Iterator[list[Array]]:
    """The named outputs of each batch of groups (M, c, K, 3) and centres (M, c, 3), in order."""
    for start in range(0, len(groups), batch):
        stop = start + batch
        yield session.run(list(names), {"groups": groups[start:stop], "centers": centers[start:stop]})


def run_all(model: onnx.ModelProto, groups: Array, centers: Array, batch: int = 8) -> dict[str, Array]:
    """Every output of a model for groups (M, c, K, 3) and centres (M, c, 3), float32."""
    names = [output.name for output in model.graph.output]
    parts = list(run_batches(open_session(model), names, groups, centers, batch))
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}
