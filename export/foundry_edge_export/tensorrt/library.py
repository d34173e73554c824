"""What NVIDIA's library can build for; it is imported by the runtime's `import_library`."""

from __future__ import annotations

from typing import Any

from foundry_edge_runtime.backends.trt.library import MODULES
from foundry_edge_runtime.errors import InputError

_TURING = "SM75"  # the compiler has no FP32 matrix products for it


def check_backend(name: str) -> None:
    """Refuse a name that is no compiler.

    Raises:
        InputError: names the choices.
    """
    if name not in MODULES:
        raise InputError(f"expected {' or '.join(MODULES)}, found {name!r}", where="--backend")


def ahead_capabilities(library: Any) -> tuple[str, ...]:
    """Compute capabilities that plans can be built for without a GPU; empty when the library cannot."""
    known = getattr(getattr(library, "ComputeCapability", None), "__members__", {})
    if not hasattr(library.IBuilderConfig, "set_compute_capability"):
        return ()
    names = [name for name in known if name.startswith("SM") and name != _TURING]
    return tuple(f"{name[2:-1]}.{name[-1]}" for name in names)


def capability_member(library: Any, capability: str) -> Any:
    """The library's constant for a compute capability such as "8.9"."""
    return library.ComputeCapability.__members__["SM" + capability.replace(".", "")]
