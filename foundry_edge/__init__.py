"""Distil 3D point-cloud foundation models and export them for embedded GPUs.

The names below load on first use, so that `import foundry_edge` costs nothing and works in the base install;
without the extra it needs, a name raises MissingExtraError with the pip command. The torch-free half is
`foundry_edge_runtime`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from foundry_edge_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from foundry_edge.data.samples import load_samples
    from foundry_edge.evaluation.evaluate import evaluate
    from foundry_edge.load import load_model, load_student, load_teacher
    from foundry_edge.measures.cost import macs
    from foundry_edge.teachers.importing import import_teacher
    from foundry_edge.training.distill import distill
    from foundry_edge.training.finetune import finetune
    from foundry_edge.training.pretrain import pretrain
    from foundry_edge.training.scene_distill import distill_scenes
    from foundry_edge_export import export
    from foundry_edge_export.tensorrt.builder import build

__all__ = [
    "build",
    "distill",
    "distill_scenes",
    "evaluate",
    "export",
    "finetune",
    "import_teacher",
    "load_model",
    "load_samples",
    "load_student",
    "load_teacher",
    "macs",
    "pretrain",
]

# name -> (module, extra it needs; empty for none)
_PUBLIC = {
    "build": ("foundry_edge_export.tensorrt.builder", ""),
    "distill": ("foundry_edge.training.distill", "train"),
    "distill_scenes": ("foundry_edge.training.scene_distill", "train"),
    "evaluate": ("foundry_edge.evaluation.evaluate", "train"),
    "export": ("foundry_edge_export", "export"),
    "finetune": ("foundry_edge.training.finetune", "train"),
    "import_teacher": ("foundry_edge.teachers.importing", "train"),
    "load_model": ("foundry_edge.load", "train"),
    "load_samples": ("foundry_edge.data.samples", ""),
    "load_student": ("foundry_edge.load", "train"),
    "load_teacher": ("foundry_edge.load", "train"),
    "macs": ("foundry_edge.measures.cost", "train"),
    "pretrain": ("foundry_edge.training.pretrain", "train"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Raises:
        MissingExtraError: the extra that the name needs is not installed.
        AttributeError: there is no such name.
    """
    if name not in _PUBLIC:
        raise AttributeError(f"module 'foundry_edge' has no attribute {name!r}")
    module, extra = _PUBLIC[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not extra or package.startswith("foundry_edge"):
            raise
        raise MissingExtraError(package, extra, f"foundry_edge.{name}") from error


def __dir__() -> list[str]:
    return __all__
