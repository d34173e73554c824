"""A graph beside the rungs, ready to run on ONNX Runtime's CPU provider in little memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.backends.options import session_options
from foundry_edge_runtime.backends.registry import DEFAULT
from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.errors import BackendError, BundleError, first_line
from foundry_edge_runtime.pointcloud import FloatArray

Shape = tuple[str | int, ...]


class Form(NamedTuple):
    """Inputs by name, with shapes; a name in a shape is a size that differs. Outputs in order."""

    inputs: dict[str, Shape]
    outputs: tuple[str, ...]


class CpuGraph:
    """A loaded graph that gives memory back after each call: what a call needs is what the process grows by.

    Args:
        graph: from a bundle, checked.
        form: its inputs and outputs.
        what: it is, for messages.
        option: of `export` that makes it anew, for messages.
        threads: CPU threads; None takes the CPUs this process may use.

    Raises:
        BundleError: the graph is not of the form expected.
        BackendError: ONNX Runtime is missing or cannot load the graph.
    """

    def __init__(
        self, graph: Graph, form: Form, what: str, option: str = "", threads: int | None = None
    ) -> None:
        self._form, self._what = form, what
        self._session = _session(graph, threads or usable_cpus())
        inputs = {one.name: len(one.shape) for one in self._session.get_inputs()}
        outputs = {one.name for one in self._session.get_outputs()}
        if inputs != {key: len(shape) for key, shape in form.inputs.items()} or not outputs >= {
            *form.outputs
        }:
            raise BundleError(
                f"is no graph of {what}: inputs {sorted(inputs)}, outputs {sorted(outputs)}",
                where=graph.name,
                remedy=f"export the bundle again{option and ' with '}{option}",
            )

    def run(self, *inputs: npt.NDArray[Any]) -> list[FloatArray]:
        """Outputs, in the order of the form.

        Raises:
            BackendError: it failed.
        """
        named = zip(self._form.inputs, inputs, strict=True)
        feed = {name: np.ascontiguousarray(one) for name, one in named}
        try:
            outputs: list[FloatArray] = self._session.run(list(self._form.outputs), feed)
        except Exception as error:
            raise BackendError(f"{self._what} failed: {first_line(error)}", where=DEFAULT) from error
        return outputs


def _session(graph: Graph, threads: int) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - heavy

        options = session_options(onnxruntime, graph, threads)
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        return onnxruntime.InferenceSession(graph.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"cannot load {graph.name}: {first_line(error)}", where=DEFAULT) from error
