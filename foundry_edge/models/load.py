"""Models by name: a folder, or the ones embedded in the package."""

from __future__ import annotations

from pathlib import Path

from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.store import load_config, load_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import CheckpointError

ASSETS = Path(__file__).resolve().parent.parent / "assets"
EMBEDDED = "embedded:"


def model_folder(name: str | Path) -> Path:
    """The folder of ``name``: a path, ``embedded:teacher`` or ``embedded:student``.

    Raises:
        CheckpointError: there is no such folder.
    """
    text = str(name)
    folder = ASSETS / text.removeprefix(EMBEDDED) if text.startswith(EMBEDDED) else Path(name)
    if text.startswith(EMBEDDED) and text not in ("embedded:teacher", "embedded:student"):
        raise CheckpointError(
            "no such embedded model", where=text, remedy="use embedded:teacher or embedded:student"
        )
    if not folder.is_dir():
        raise CheckpointError(
            "no such model folder", where=text, remedy="give a folder, embedded:teacher or embedded:student"
        )
    return folder


def load_teacher(name: str | Path = "embedded:teacher") -> Teacher:
    """Load a teacher: folder or ``embedded:teacher``; frozen, in eval mode, float32.

    Raises:
        CheckpointError: missing, damaged or of another kind; the message names file and field.
    """
    folder = model_folder(name)
    teacher = Teacher(load_config(folder, TeacherConfig))
    load_weights(folder, teacher)
    return teacher.requires_grad_(False)


def load_student(name: str | Path = "embedded:student") -> Student:
    """Load a student: folder or ``embedded:student``; frozen, in eval mode, float32.

    Raises:
        CheckpointError: missing, damaged or of another kind; the message names file and field.
    """
    folder = model_folder(name)
    student = Student(load_config(folder, StudentConfig))
    load_weights(folder, student)
    return student.requires_grad_(False)
