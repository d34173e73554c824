"""The builder's configuration. Optional members are asked for, never versions."""

from __future__ import annotations

import warnings
from typing import Any

from foundry_edge_export.tensorrt.failures import RefusedError
from foundry_edge_export.tensorrt.library import capability_member
from foundry_edge_export.tensorrt.network import Network
from foundry_edge_export.tensorrt.task import BuildTask

FLAGS = ("no-tf32", "strongly-typed")
"""What every plan is built with, as it stands in its key."""


def configure(network: Network, task: BuildTask, timing: bytes) -> Any:
    """A builder configuration with its optimisation profile.

    TF32 is switched off: an FP32 rung is the reference, and half precision has rungs of its own.

    Raises:
        RefusedError: the library does not take the profile, or cannot build ahead.
    """
    library = network.library
    config = network.builder.create_builder_config()
    if hasattr(library.BuilderFlag, "TF32"):
        config.clear_flag(library.BuilderFlag.TF32)
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if task.workspace:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, task.workspace)
    _target(library, config, task)
    _profile(network, config, task.batches)
    _attach_timing(config, task.backend, timing)
    return config


def _target(library: Any, config: Any, task: BuildTask) -> None:
    """Build for several compute capabilities without a GPU, or for the GPU at hand."""
    if not hasattr(config, "set_compute_capability"):
        return  # TensorRT itself: always the GPU at hand
    members = [capability_member(library, name) for name in task.capabilities]
    if not members and task.backend == "tensorrt-rtx":
        members = [library.ComputeCapability.CURRENT]
    if members:
        config.num_compute_capabilities = len(members)
    for index, member in enumerate(members):
        if not config.set_compute_capability(member, index):
            raise RefusedError(f"cannot build for {member.name}", where=task.backend)


def _profile(network: Network, config: Any, batches: tuple[int, int, int]) -> None:
    """Every input takes these batch sizes; the other dimensions are static."""
    profile = network.builder.create_optimization_profile()
    definition = network.definition
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        rest = tuple(tensor.shape)[1:]
        if any(size < 0 for size in rest):
            raise RefusedError(
                f"input {tensor.name} has the shape {tuple(tensor.shape)}, expected only a dynamic batch"
            )
        profile.set_shape(tensor.name, *((batch, *rest) for batch in batches))
    if config.add_optimization_profile(profile) < 0:
        raise RefusedError(f"the compiler does not take batches of {batches[0]} to {batches[2]}")


def _attach_timing(config: Any, backend: str, timing: bytes) -> None:
    """Kernels timed before are not timed again. RTX compiles on the device later and times nothing here."""
    if backend == "tensorrt-rtx" or not hasattr(config, "create_timing_cache"):
        return
    cache = config.create_timing_cache(timing)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def detach_timing(config: Any, backend: str) -> bytes:
    """The timing cache after the build; empty when the library keeps none."""
    if backend == "tensorrt-rtx" or not hasattr(config, "get_timing_cache"):
        return b""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cache = config.get_timing_cache()
    return bytes(cache.serialize()) if cache is not None else b""
