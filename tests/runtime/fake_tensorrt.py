"""`tensorrt` on top of a `FakeGpu`: a plan is a description of what `tiny_bundle` computes, and so does this.

Objects count their lives: an engine that outlives its runtime, or a context its engine, is noted.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from tests.runtime.fake_cuda import FakeGpu, Refused
from tests.runtime.tiny_bundle import GROUPS, LABELS, SIZE, WIDTH, expected

Shape = tuple[int, ...]


class DataType(Enum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


@dataclass(frozen=True)
class Plan:
    """What a fake plan holds.

    Attributes:
        precision, tokens: of the rung.
        batches: fewest and most; equal for a static plan.
        static: whether the batch stands in the shapes.
        half: a tensor that is half precision.
        inputs, outputs: shapes of one cloud.
        capturable, starts: whether a CUDA graph may be captured, and whether it runs at all.
        spoilt: its outputs are not finite.
    """

    precision: str = "fp32"
    tokens: int = 1
    batches: tuple[int, int] = (1, 8)
    static: bool = False
    half: str = ""
    group_size: int = SIZE
    outputs: tuple[str, ...] = ("tokens", "global", "logits")
    capturable: bool = True
    starts: bool = True
    spoilt: bool = False

    @property
    def content(self) -> bytes:
        return b"plan:" + json.dumps(asdict(self)).encode()

    def shapes(self) -> dict[str, Shape]:
        known: dict[str, Shape] = {
            "groups": (GROUPS, self.group_size, 3),
            "centers": (GROUPS, 3),
            "tokens": (GROUPS, WIDTH),
            "global": (2 * WIDTH,),
            "logits": (len(LABELS),),
            "odd": (1,),
        }
        return {name: known[name] for name in ("groups", "centers", *self.outputs)}


class Severity(Enum):
    INTERNAL_ERROR, ERROR, WARNING = range(3)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = Severity

    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError


def tensorrt(gpu: FakeGpu, version: str = "10.3.0", name: str = "tensorrt") -> ModuleType:
    """The module; of RTX, contexts can tell whether they are capturable."""
    module: Any = ModuleType(name)
    module.__version__ = version
    module.ILogger, module.DataType, module.TensorIOMode = ILogger, DataType, TensorIOMode
    module.Runtime = lambda log: Runtime(gpu, log, rtx=name == "tensorrt_rtx")
    found: ModuleType = module
    return found


class _Counted:
    """An object that must go before what it came from."""

    def __init__(self, gpu: FakeGpu, parent: _Counted | None) -> None:
        self.gpu, self.parent, self.children, self.gone = gpu, parent, 0, False
        self.kind = type(self).__name__
        gpu.objects[self.kind] = gpu.objects.get(self.kind, 0) + 1
        if parent is not None:
            parent.children += 1

    def __del__(self) -> None:
        self.gpu.objects[self.kind] -= 1
        if self.parent is not None:
            self.parent.children -= 1
        if self.children:
            self.gpu.broken.append(f"{self.kind} went before what it made")
        if not self.gpu.stack and self.gpu.calls[self.gpu.fail_at - 1] != "push":
            self.gpu.broken.append(f"{self.kind} went without a context")


class Runtime(_Counted):
    def __init__(self, gpu: FakeGpu, log: ILogger, rtx: bool) -> None:
        super().__init__(gpu, None)
        assert log.ready
        self.log, self.rtx = log, rtx

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        assert isinstance(plan, bytes)
        if not plan.startswith(b"plan:"):
            self.log.log(Severity.ERROR, "IRuntime::deserializeCudaEngine: magic tag does not match\nmore")
            return None
        fields = {**json.loads(plan[5:])}
        lists = {name: tuple(fields[name]) for name in ("batches", "outputs")}
        return Engine(self, Plan(**{**fields, **lists}))


class Engine(_Counted):
    def __init__(self, runtime: Runtime, plan: Plan) -> None:
        super().__init__(runtime.gpu, runtime)
        self.runtime, self.plan = runtime, plan
        self._shapes = plan.shapes()

    @property
    def num_io_tensors(self) -> int:
        return len(self._shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self._shapes)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in {"groups", "centers"} else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.HALF if name == self.plan.half else DataType.FLOAT

    def get_tensor_shape(self, name: str) -> Shape:
        return (self.plan.batches[1] if self.plan.static else -1, *self._shapes[name])

    def get_tensor_profile_shape(self, name: str, _profile: int) -> list[Shape]:
        low, high = self.plan.batches
        return [(size, *self._shapes[name]) for size in (low, high, high)]

    def create_execution_context(self) -> Context | None:
        try:
            self.gpu.call("context")
        except Refused as error:
            self.runtime.log.log(Severity.ERROR, f"Cuda failure: {error}")
            return None
        return Context(self)


class Context(_Counted):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.gpu, engine)
        self.engine = engine
        self._batch: dict[str, int] = {}
        self._addresses: dict[str, int] = {}
        if engine.runtime.rtx:
            self.is_stream_capturable = lambda _stream: engine.plan.capturable

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        low, high = self.engine.plan.batches
        self._batch[name] = shape[0]
        return low <= shape[0] <= high and shape[1:] == self.engine.get_tensor_shape(name)[1:]

    def get_tensor_shape(self, name: str) -> Shape:
        return (self._batch["groups"], *self.engine.get_tensor_shape(name)[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address % 4 == 0

    def execute_async_v3(self, stream: int) -> bool:
        plan, gpu = self.engine.plan, self.gpu
        shapes = {name: self.get_tensor_shape(name) for name in self._addresses}
        addresses = dict(self._addresses)

        def region(name: str) -> np.ndarray[Any, Any]:
            size = 4 * math.prod(shapes[name])
            return gpu.region(addresses[name], size).view(np.float32).reshape(shapes[name])

        def compute() -> None:
            found = expected(region("groups"), region("centers"), plan.precision, plan.tokens)
            for name, value in zip(("tokens", "global", "logits"), found, strict=True):
                if name in addresses:
                    region(name)[...] = np.nan if plan.spoilt else value

        with gpu.lock:
            try:
                if not plan.starts:
                    raise Refused("CUDA_ERROR_LAUNCH_FAILED")
                gpu.kernel(stream, compute)
            except Refused as error:
                self.engine.runtime.log.log(Severity.INTERNAL_ERROR, f"Cuda failure: {error}\nmore")
                return False
        return True
