"""One rung to one plan, in this process. A crash of the compiler is a crash here: see `isolated`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from foundry_edge_export.tensorrt.configure import configure, detach_timing
from foundry_edge_export.tensorrt.failures import CrashError, RefusedError
from foundry_edge_export.tensorrt.network import Network, parse
from foundry_edge_export.tensorrt.task import BuildTask, Compiled
from foundry_edge_runtime.backends.trt.library import import_library
from foundry_edge_runtime.bundle import Bundle, Rung, load_bundle
from foundry_edge_runtime.errors import BackendError, InputError

_MEMORY = re.compile(r"out ?of ?memory", re.IGNORECASE)


def compile_rung(task: BuildTask, timing: bytes = b"") -> Compiled:
    """Check the rung's files, parse its graph, build, and look into the engine where there is a GPU.

    Raises:
        InputError: the bundle has no such rung.
        BundleError: a file is altered, or the graph would open another file.
        BackendError: the library is missing or broken.
        RefusedError: the parser or the compiler refuses the graph; names the node.
        CrashError: the device ran out of memory, or does not load what was built.
    """
    graph = _checked_graph(load_bundle(task.folder), task.rung)
    library = import_library(task.backend)
    started = time.monotonic()
    network = parse(library, graph)
    config = configure(network, task, timing)
    plan = network.builder.build_serialized_network(network.definition, config)
    if plan is None:
        raise _failure(network.messages.problem(), task.rung)
    content = bytes(plan)
    seconds = time.monotonic() - started
    return Compiled(
        plan=content,
        seconds=seconds,
        layers=b"" if task.capabilities else _layers(network, content),
        timing=detach_timing(config, task.backend),
        warnings=tuple(network.messages.warnings),
    )


def _failure(problem: str, rung: str) -> BackendError:
    """Memory may suffice the next time; anything else the compiler will say again."""
    if _MEMORY.search(problem):
        remedy = "close other programs that use the GPU, or lower --max-batch"
        return CrashError(f"the compiler ran out of memory: {problem}", where=rung, remedy=remedy)
    return RefusedError(f"the compiler refuses it: {problem}", where=rung)


def _checked_graph(bundle: Bundle, name: str) -> Path:
    """The rung's graph, after every check of `Bundle.graph`."""
    rung = find_rung(bundle, name)
    bundle.graph(rung)
    return bundle.folder.resolve() / rung.graph.name


def find_rung(bundle: Bundle, name: str) -> Rung:
    """The rung of this name.

    Raises:
        InputError: there is none.
    """
    for rung in bundle.manifest.rungs:
        if rung.name == name:
            return rung
    raise InputError(f"has no rung {name}", where=bundle.folder)


def _layers(network: Network, plan: bytes) -> bytes:
    """The engine inspector's JSON of the plan just built."""
    library: Any = network.library
    engine = library.Runtime(network.log).deserialize_cuda_engine(plan)
    if engine is None:
        raise CrashError(f"the plan just built does not load: {network.messages.problem()}")
    inspector = engine.create_engine_inspector()
    text: str = inspector.get_engine_information(library.LayerInformationFormat.JSON)
    return text.encode()
