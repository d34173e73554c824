"""The one exception tree of foundry-edge.

    FoundryEdgeError              every error a user can cause or meet
    ├── InputError                exit 2: wrong input or usage
    │   ├── ScanError             a point-cloud file cannot be trusted or read
    │   ├── BundleError           a bundle is corrupt or incomplete
    │   │   └── NewerBundleError  a newer foundry-edge made the bundle
    │   ├── CheckpointError       model weights are corrupt, hostile or of an unknown kind
    │   └── DataError             a data set or folder lacks what was asked for
    ├── GateError                 exit 1: a quality gate failed, or a strict budget cannot be met
    └── EnvironmentFault          exit 3: the machine lacks something
        ├── MissingExtraError     an optional dependency is not installed
        ├── BackendError          an inference backend is absent or broken
        │   └── DeviceError       the GPU failed: nothing more can be computed on it in this process
        └── StorageError          a file cannot be written (disk full, permission)

Every message is one line: what is wrong, where (file and field), and the remedy.
"""

from __future__ import annotations

from typing import Any, ClassVar


def printable(text: object) -> str:
    """``text`` on one line, control and undecodable characters escaped (file names are user input)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, else the name of its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class FoundryEdgeError(Exception):
    """Base of all foundry-edge errors.

    Args:
        problem: what is wrong, naming the field, what was expected and what was found.
        where: the file, folder, flag or device concerned.
        remedy: what to do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, problem: str, *, where: object = None, remedy: str = "") -> None:
        self.problem = problem
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        return printable(f"{head}; {self.remedy}" if self.remedy else head)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[FoundryEdgeError], arguments: tuple[Any, ...], fields: dict[str, Any]
) -> FoundryEdgeError:
    """An error that came from another process, whatever its constructor takes."""
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(fields)
    return error


class InputError(FoundryEdgeError):
    """Wrong input or usage (exit code 2)."""


class ScanError(InputError):
    """A point-cloud file that cannot be trusted or read."""


class BundleError(InputError):
    """A bundle that is corrupt or incomplete."""


class NewerBundleError(BundleError):
    """A bundle that a newer foundry-edge made, with a schema that this one does not know."""


class CheckpointError(InputError):
    """Model weights that are corrupt, hostile or of an unknown kind."""


class DataError(InputError):
    """A data set or folder that lacks what was asked for."""


class GateError(FoundryEdgeError):
    """A quality gate failed, or a strict budget cannot be met (exit code 1)."""

    exit_code = 1


class EnvironmentFault(FoundryEdgeError):
    """The machine lacks something (exit code 3)."""

    exit_code = 3


class MissingExtraError(EnvironmentFault):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, feature: str) -> None:
        self.extra = extra
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed",
            remedy=f"install it with: pip install 'foundry-edge[{extra}]'",
        )


class BackendError(EnvironmentFault):
    """An inference backend that is absent or broken."""


class DeviceError(BackendError):
    """A GPU that failed: CUDA refuses all further work of this process on it."""


class StorageError(EnvironmentFault):
    """A file that cannot be written."""
