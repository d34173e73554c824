"""The four scene graphs, ready to run on ONNX Runtime in little memory."""

from __future__ import annotations

from foundry_edge_runtime.backends.cpu_graph import CpuGraph
from foundry_edge_runtime.backends.registry import DEFAULT
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import Scene
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.scenes.form import STAGES


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
        self._graphs = {
            name: CpuGraph(bundle.graph(scene.stage(name)), form, f"the stage {name}", "--scene", threads)
            for name, form in STAGES.items()
        }

    def run(self, stage: str, *inputs: FloatArray) -> list[FloatArray]:
        """Outputs of a stage, in the order of `STAGES`.

        Raises:
            BackendError: it failed.
        """
        return self._graphs[stage].run(*inputs)

    def close(self) -> None:
        """Drop the graphs."""
        self._graphs = {}


def require_backend(name: str | None) -> None:
    """Scenes run on ONNX Runtime's CPU provider.

    Raises:
        InputError: another backend was asked for.
    """
    if name not in (None, DEFAULT):
        raise InputError(f"--scene runs on {DEFAULT} alone, found {name!r}", remedy="leave out --backend")
