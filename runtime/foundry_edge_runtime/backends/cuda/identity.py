"""What a plan must have been built for to run here."""

from __future__ import annotations

from foundry_edge_runtime.backends.cuda.driver import Attributes
from foundry_edge_runtime.backends.cuda.opening import open_device
from foundry_edge_runtime.plans import PlanDevice, device_of


def plan_device(attributes: Attributes) -> PlanDevice:
    """What plans of a GPU are keyed on."""
    return device_of(attributes.name, attributes.compute_capability, attributes.driver)


def this_device(ordinal: int = 0) -> PlanDevice:
    """What plans of a GPU of this machine are keyed on; the GPU is opened and closed again.

    Raises:
        BackendError: there is none, or it cannot be used.
    """
    device = open_device(ordinal)
    try:
        return plan_device(device.attributes)
    finally:
        device.close()
