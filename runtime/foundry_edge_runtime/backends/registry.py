"""Which backends there are, by the names that --backend takes."""

from __future__ import annotations

from importlib import import_module

from foundry_edge_runtime.backends.base import Backend, BackendStatus
from foundry_edge_runtime.errors import BackendError, InputError

DEFAULT = "onnxruntime"
PLANNED = ("tensorrt", "tensorrt-rtx")
"""Backends whose engines are built ahead, by `foundry-edge build`."""
_ON_CPU = (DEFAULT, f"{DEFAULT}:bf16")
_PROVIDERS = ("bf16", "cuda", "tensorrt", "tensorrt-rtx")

# name -> module, class, arguments; modules are imported when their backend is asked for
_KNOWN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    DEFAULT: ("foundry_edge_runtime.backends.ort", "OnnxRuntimeBackend", ("cpu",)),
    **{
        f"{DEFAULT}:{provider}": ("foundry_edge_runtime.backends.ort", "OnnxRuntimeBackend", (provider,))
        for provider in _PROVIDERS
    },
    **{name: ("foundry_edge_runtime.backends.trt.backend", "TensorRtBackend", (name,)) for name in PLANNED},
}


def backend_names() -> tuple[str, ...]:
    """Every name `get_backend` takes."""
    return tuple(_KNOWN)


def needs_gpu(name: str) -> bool:
    """Whether the engines of this backend run on a GPU."""
    return name not in _ON_CPU


def get_backend(name: str) -> Backend:
    """The backend of this name.

    Raises:
        InputError: there is no such backend.
        BackendError: the library behind it cannot be imported.
    """
    if name not in _KNOWN:
        raise InputError(f"--backend must be one of {', '.join(_KNOWN)}; found {name!r}")
    module, attribute, arguments = _KNOWN[name]
    try:
        factory = getattr(import_module(module), attribute)
    except ImportError as error:
        raise BackendError(f"cannot be imported: {error}", where=name, remedy="reinstall it") from error
    backend: Backend = factory(*arguments)
    return backend


def available_backend(name: str) -> Backend:
    """As `get_backend`, and it can be used here.

    Raises:
        InputError: there is no such backend.
        BackendError: it is not available; the message says why.
    """
    backend = get_backend(name)
    status = backend.status()
    if not status.available:
        raise BackendError(
            status.reason, where=name, remedy="`foundry-edge doctor` lists the backends that work here"
        )
    return backend


def backend_statuses() -> list[BackendStatus]:
    """The status of every backend; a broken one is listed with its reason."""
    return [_status(name) for name in _KNOWN]


def _status(name: str) -> BackendStatus:
    try:
        return get_backend(name).status()
    except BackendError as error:
        return BackendStatus(name, available=False, reason=error.problem)
