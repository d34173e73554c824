"""Plans (serialised TensorRT engines) on this machine: what each depends on, and a cache that is checked.

A backend asks for the plan of a rung and gets the verified bytes, or why there are none::

    outcome = PlanStore().load(PlanRequest(graph_sha256, weights_sha256, "tensorrt", trt.__version__, device))
    if outcome.plan is None:
        raise outcome.error()
    engine = runtime.deserialize_cuda_engine(outcome.plan)

``device`` is the `PlanDevice` of the GPU at hand: `device_of` makes it from what CUDA says. Plans are written
by `foundry_edge_export` alone.
"""

from foundry_edge_runtime.plans.device import device_of
from foundry_edge_runtime.plans.folder import plan_folder, secure
from foundry_edge_runtime.plans.manifest import (
    BatchProfile,
    PlanBackend,
    PlanCheck,
    PlanDevice,
    PlanKey,
    PlanManifest,
    PlanRefusal,
)
from foundry_edge_runtime.plans.outcome import PlanOutcome, PlanRequest, PlanState
from foundry_edge_runtime.plans.store import PlanStore

__all__ = [
    "BatchProfile",
    "PlanBackend",
    "PlanCheck",
    "PlanDevice",
    "PlanKey",
    "PlanManifest",
    "PlanOutcome",
    "PlanRefusal",
    "PlanRequest",
    "PlanState",
    "PlanStore",
    "device_of",
    "plan_folder",
    "secure",
]
