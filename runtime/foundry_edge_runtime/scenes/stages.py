"""The four scene graphs, ready to run on ONNX Runtime in little memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundry_edge_runtime.backends.registry import DEFAULT
from foundry_edge_runtime.backends.threads import set_threads
from foundry_edge_runtime.bundle.load import Bundle, Graph
from foundry_edge_runtime.bundle.manifest import Scene
from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.errors import BackendError, BundleError, InputError
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.scenes.form import STAGES

_QUIET = 4  # only fatal messages: what goes wrong is raised, and said once
_FOLDER = "session.model_external_initializers_file_folder_path"


class Stages:
    """The stages of a bundle's scene student.

    Args:
        bundle: holds scene graphs.
        scene: the section of its manifest.
        threads: CPU threads; None takes the CPUs this process may use.

    Raises:
        BundleError: a file is not what the manifest says, or a graph is not of the form expected.
        BackendError: ONNX Runtime is missing or cannot load a graph.
    """

    backend = DEFAULT

    def __init__(self, bundle: Bundle, scene: Scene, threads: int | None = None) -> None:
        threads = threads or usable_cpus()
        self._sessions = {name: _session(bundle.graph(scene.stage(name)), name, threads) for name in STAGES}

    def run(self, stage: str, *inputs: FloatArray) -> list[FloatArray]:
        """Outputs of a stage, in the order of `STAGES`.

        Raises:
            BackendError: it failed.
        """
        form = STAGES[stage]
        feed = {name: np.ascontiguousarray(one) for name, one in zip(form.inputs, inputs, strict=True)}
        try:
            outputs: list[FloatArray] = self._sessions[stage].run(list(form.outputs), feed)
        except Exception as error:
            raise BackendError(f"the stage {stage} failed: {_first_line(error)}", where=DEFAULT) from error
        return outputs

    def close(self) -> None:
        """Drop the graphs."""
        self._sessions = {}


def require_backend(name: str | None) -> None:
    """Scenes run on ONNX Runtime's CPU provider.

    Raises:
        InputError: another backend was asked for.
    """
    if name not in (None, DEFAULT):
        raise InputError(f"--scene runs on {DEFAULT} alone, found {name!r}", remedy="leave out --backend")


def _session(graph: Graph, stage: str, threads: int) -> Any:
    """A session that gives memory back after each call: what a chunk needs is what the process grows by."""
    try:
        import onnxruntime  # noqa: PLC0415 - heavy

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        set_threads(options, threads)
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry(_FOLDER, str(graph.folder))
        session = onnxruntime.InferenceSession(graph.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"cannot load {graph.name}: {_first_line(error)}", where=DEFAULT) from error
    _check_form(session, stage, graph.name)
    return session


def _check_form(session: Any, stage: str, name: str) -> None:
    form = STAGES[stage]
    inputs = {one.name: len(one.shape) for one in session.get_inputs()}
    outputs = {one.name for one in session.get_outputs()}
    if inputs != {key: len(shape) for key, shape in form.inputs.items()} or not outputs >= {*form.outputs}:
        raise BundleError(
            f"is no graph of the stage {stage}: inputs {sorted(inputs)}, outputs {sorted(outputs)}",
            where=name,
            remedy="export the bundle again with --scene",
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
