"""What a plan takes and gives, checked against the contract of a rung before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

from foundry_edge_runtime.backends.base import LOGITS, OUTPUTS
from foundry_edge_runtime.backends.cuda import Shape
from foundry_edge_runtime.backends.trt.loaded import Loaded
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing

_REMEDY = "build it again: foundry-edge build"


@dataclass(frozen=True)
class Tensors:
    """Inputs and outputs of a plan.

    Attributes:
        inputs: name -> shape of one cloud (without the batch); float32.
        outputs: names; float32.
        fewest, most: batch sizes that the plan takes.
    """

    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    fewest: int
    most: int


def read_tensors(loaded: Loaded, spec: Preprocessing) -> Tensors:
    """The tensors of a deserialised engine.

    Raises:
        BackendError: they are not those of a rung with this preprocessing.
    """
    library, where = loaded.library, loaded.name
    names = [loaded.engine.get_tensor_name(index) for index in range(loaded.engine.num_io_tensors)]
    inputs = [name for name in names if loaded.engine.get_tensor_mode(name) == library.TensorIOMode.INPUT]
    expected = {"groups": (spec.groups, spec.group_size, 3), "centers": (spec.groups, 3)}
    found = {name: tuple(loaded.engine.get_tensor_shape(name)) for name in inputs}
    if {name: shape[1:] for name, shape in found.items()} != expected:
        raise _other(f"the plan's inputs are {found}, expected {expected} behind the batch", where)
    outputs = [name for name in names if name not in inputs]
    if not set(OUTPUTS) <= set(outputs) <= {*OUTPUTS, LOGITS}:
        raise _other(f"the plan's outputs are {outputs}, expected {[*OUTPUTS]} and perhaps {LOGITS!r}", where)
    for name in names:
        kind = loaded.engine.get_tensor_dtype(name)
        if kind != library.DataType.FLOAT:
            raise _other(
                f"tensor {name!r} of the plan is {getattr(kind, 'name', kind)}, expected FLOAT", where
            )
    fewest, most = _batches(loaded, inputs)
    return Tensors(expected, tuple(name for name in (*OUTPUTS, LOGITS) if name in outputs), fewest, most)


def _batches(loaded: Loaded, inputs: list[str]) -> tuple[int, int]:
    """Batch sizes that all inputs take: those of the optimisation profile, or the one of a static plan."""
    ranges = []
    for name in inputs:
        size, *_ = loaded.engine.get_tensor_shape(name)
        (fewest, *_), _, (most, *_) = (
            loaded.engine.get_tensor_profile_shape(name, 0) if size < 0 else [(size,), (size,), (size,)]
        )
        ranges.append((fewest, most))
    return max(fewest for fewest, _ in ranges), min(most for _, most in ranges)


def _other(problem: str, where: str) -> BackendError:
    return BackendError(problem, where=where, remedy=_REMEDY)
