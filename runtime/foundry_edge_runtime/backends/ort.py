"""ONNX Runtime, one backend for each of its execution providers; a missing provider is an error."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.base import INPUTS, LOGITS, OUTPUTS, BackendStatus, EngineInfo, Outputs
from foundry_edge_runtime.backends.options import session_options
from foundry_edge_runtime.backends.probe import probed
from foundry_edge_runtime.backends.providers import PROVIDERS, asked
from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.device import multiplies_in_bfloat16, usable_cpus
from foundry_edge_runtime.errors import BackendError, BundleError, DeviceError, first_line
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray

_ON_CPU = ("cpu", "bf16")
_REPAIR = "repair the GPU libraries, or choose --backend onnxruntime"
_REINSTALL = "install a build of onnxruntime that has it, or choose another --backend"
_BF16 = "mlas.enable_gemm_fastmath_arm64_bfloat16"
_NO_BF16 = "this is no Arm CPU that multiplies in bfloat16, or not Linux"
_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_SUM = bytes.fromhex(  # a model that adds x (1,) to itself, to try a provider with: opset 17, IR 8
    "080812003a350a0e0a01780a017812017922034164641201705a0f0a0178120a0a08080112040a020801"
    "620f0a0179120a0a08080112040a02080142040a001011"
)
_LOST = re.compile(r"(?i)cuda (failure|error) (?!2\b)\d+")  # 2: out of memory, which leaves the GPU usable


class OnnxRuntimeBackend:
    """Loads graphs with ONNX Runtime.

    Args:
        provider: a key of `PROVIDERS`; ``bf16`` is the CPU with FP32 products rounded to bfloat16.
        threads: CPU threads; None takes the CPUs this process may use.
    """

    def __init__(self, provider: str = "cpu", threads: int | None = None) -> None:
        self._provider = provider
        self._threads = threads or usable_cpus()

    @property
    def name(self) -> str:
        """``onnxruntime``, with ``:provider`` unless that is the CPU."""
        return "onnxruntime" if self._provider == "cpu" else f"onnxruntime:{self._provider}"

    def status(self) -> BackendStatus:
        """Whether ONNX Runtime can be imported, has the provider, and the provider works here.

        A provider other than the CPU is tried in a process of its own.
        """
        status = self._built()
        if self._provider in _ON_CPU or not status.available:
            return status
        return probed(self.name)

    def examine(self) -> BackendStatus:
        """Run a tiny model with the provider, in this process."""
        status = self._built()
        if not status.available:
            return status
        try:
            session = self._session(Graph("a tiny model", _SUM, Path()))
            self._refuse_other_provider(session)
            session.run(None, {"x": np.ones(1, np.float32)})
        except Exception as error:
            reason = error.problem if isinstance(error, BackendError) else first_line(error)
            return replace(status, available=False, reason=reason)
        return status

    def _built(self) -> BackendStatus:
        wanted = PROVIDERS[self._provider]
        try:
            library = _library()
        except BackendError as error:
            return BackendStatus(self.name, available=False, reason=error.problem)
        if self._provider == "bf16" and not multiplies_in_bfloat16():
            return BackendStatus(self.name, available=False, version=library.__version__, reason=_NO_BF16)
        built = wanted in library.get_available_providers()
        reason = "" if built else f"this build of onnxruntime has no {wanted}"
        return BackendStatus(self.name, built, library.__version__, reason)

    def load(self, graph: Graph, spec: Preprocessing) -> OnnxRuntimeEngine:
        """Make a graph executable; see `Backend.load`."""
        status = self._built()
        if not status.available:
            raise BackendError(status.reason, where=self.name, remedy=_REINSTALL)
        session = self._session(graph)
        self._refuse_other_provider(session)
        _check_contract(session, graph, spec)
        device = "cpu" if self._provider in _ON_CPU else "cuda:0"
        info = EngineInfo(self.name, status.version, device, self._threads, detail=_assignment(session))
        return OnnxRuntimeEngine(session, info, spec)

    def _session(self, graph: Graph) -> Any:
        library = _library()
        options = session_options(library, graph, self._threads)
        options.add_session_config_entry(_ASSIGNMENT, "1")
        if self._provider == "bf16":
            options.add_session_config_entry(_BF16, "1")
        providers = asked(self._provider, graph, library.get_available_providers())
        try:
            # its Python layer would otherwise print a line and start again on the CPU
            return library.InferenceSession(graph.content, options, providers=providers, enable_fallback=0)
        except Exception as error:
            raise BackendError(
                f"cannot load {graph.name}: {first_line(error)}",
                where=self.name,
                remedy="export the bundle again, or choose another rung or --backend",
            ) from error

    def _refuse_other_provider(self, session: Any) -> None:
        wanted, actual = PROVIDERS[self._provider], session.get_providers()
        if actual[0] != wanted:
            raise BackendError(
                f"asked for {wanted}, which fell back to {actual[0]}", where=self.name, remedy=_REPAIR
            )
        nodes = _nodes(session)
        if nodes and not nodes[wanted]:
            raise BackendError(f"{wanted} takes no node of the graph", where=self.name, remedy=_REPAIR)


class OnnxRuntimeEngine:
    """One loaded graph."""

    def __init__(self, session: Any, info: EngineInfo, spec: Preprocessing) -> None:
        self._session: Any | None = session
        self._info = info
        self._spec = spec
        self._has_head = LOGITS in {output.name for output in session.get_outputs()}
        self._names = [*OUTPUTS, LOGITS] if self._has_head else [*OUTPUTS]

    def warm(self, batch: int = 1) -> None:
        """Run once on zeros."""
        c, k = self._spec.groups, self._spec.group_size
        self.run(np.zeros((batch, c, k, 3), np.float32), np.zeros((batch, c, 3), np.float32))

    def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
        """Compute one batch; see `Engine.run`."""
        if self._session is None:
            raise BackendError("the engine was closed", where=self._info.backend)
        try:
            found = self._session.run(self._names, dict(zip(INPUTS, (groups, centers), strict=True)))
        except Exception as error:
            kind = DeviceError if _LOST.search(str(error)) else BackendError
            raise kind(f"the engine failed: {first_line(error)}", where=self._info.backend) from error
        return Outputs(found[0], found[1], found[2] if self._has_head else None)

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def describe(self) -> EngineInfo:
        """What is really in use."""
        return self._info


def _library() -> Any:
    try:
        return import_module("onnxruntime")
    except (ImportError, OSError) as error:
        raise BackendError(
            f"onnxruntime cannot be imported: {first_line(error)}", remedy=_REINSTALL
        ) from error


def _check_contract(session: Any, graph: Graph, spec: Preprocessing) -> None:
    """Inputs, outputs and the static part of their shapes, as the design fixes them."""
    inputs = {i.name: i.shape[1:] for i in session.get_inputs()}
    expected = {"groups": [spec.groups, spec.group_size, 3], "centers": [spec.groups, 3]}
    if inputs != expected:
        raise BundleError(f"the graph's inputs are {inputs}, expected {expected}", where=graph.name)
    missing = set(OUTPUTS) - {output.name for output in session.get_outputs()}
    if missing:
        raise BundleError(f"the graph lacks the output {min(missing)!r}", where=graph.name)


def _nodes(session: Any) -> Counter[str]:
    """How many nodes each provider was given; empty where this release does not tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return Counter()
    count: Counter[str] = Counter()
    for part in tell():
        count[part.ep_name] += len(part.get_nodes())
    return count


def _assignment(session: Any) -> str:
    """For people: the nodes by provider, when there is more than one."""
    nodes = _nodes(session)
    return ", ".join(f"{count} nodes on {name}" for name, count in nodes.items()) if len(nodes) > 1 else ""
