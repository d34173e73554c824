"""What a name in a pickle stands for: a fixed list of inert stand-ins, a placeholder, or a refusal.

Nothing is ever imported. The stand-ins are this package's own functions and values; every other name becomes
a `Foreign` placeholder that cannot act. Names that could act in an ordinary loader have no place in a
checkpoint: they mark the file as hostile, and it is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from foundry_edge.teachers.tensors import DTYPES, StorageType, rebuild_parameter, rebuild_tensor
from foundry_edge_runtime.errors import CheckpointError, printable

_SCALARS = (str, int, float, bytes)


@dataclass(frozen=True)
class Known:
    """A function of the fixed list: the name in the file, and this package's own stand-in."""

    name: str
    call: Callable[..., object]


@dataclass(eq=False)
class Foreign:
    """A class that is not on the list, or an instance of one.

    Attributes:
        name: of the class.
        items: what was set on it as on a mapping.
        state: what it was given as its state, uncopied: a pickle may ask for that a million times.
    """

    name: str
    items: dict[object, object] = field(default_factory=dict)
    state: object = None

    @property
    def values(self) -> dict[object, object]:
        """Attributes and items by name."""
        return {**(self.state if isinstance(self.state, dict) else {}), **self.items}


def mapping(items: Iterable[tuple[object, object]]) -> dict[object, object]:
    """A dict of ``items``; keys must be cheap to hash (a shared nest of tuples can take for ever).

    Raises:
        TypeError: a key is no scalar, tuple of scalars or placeholder.
    """
    pairs = list(items)
    for key, _ in pairs:
        check_key(key)
    return dict(pairs)


def check_key(key: object) -> None:
    """See `mapping`."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is None or isinstance(part, (*_SCALARS, Foreign)) for part in parts):
        raise TypeError(f"a {type(key).__name__} is used as a key")


def _ordered_dict(*arguments: object) -> dict[object, object]:
    """``OrderedDict()``, or of a list of pairs, which is used up: repeating that takes no memory."""
    if not arguments:
        return {}
    pairs = arguments[0]
    if not isinstance(pairs, list):
        raise TypeError("an OrderedDict is not made from a list of pairs")
    made = mapping((key, value) for key, value in pairs)
    pairs.clear()
    return made


def _size(sizes: object = ()) -> tuple[object, ...]:
    """``torch.Size(sizes)``."""
    if not isinstance(sizes, tuple):
        raise TypeError("a torch.Size is not made from a tuple")
    return sizes


KNOWN: dict[str, Known] = {
    known.name: known
    for known in (
        Known("collections.OrderedDict", _ordered_dict),
        Known("collections.defaultdict", lambda *_: {}),
        Known("torch.Size", _size),
        Known("torch._utils._rebuild_tensor", rebuild_tensor),
        Known("torch._utils._rebuild_tensor_v2", rebuild_tensor),
        Known("torch._utils._rebuild_parameter", rebuild_parameter),
        Known("torch._utils._rebuild_parameter_with_state", rebuild_parameter),
    )
}

_PLAIN_WORDS = """
basestring bool bytearray bytes complex dict float frozenset int list long object range set slice str tuple
unicode xrange
"""
_PLAIN_BUILTINS = frozenset(_PLAIN_WORDS.split())
_PLAIN_NAMES = frozenset(
    {"copyreg._reconstructor", "copy_reg._reconstructor", "inspect._empty", "types.SimpleNamespace"}
)
_PLAIN_MODULES = ("torch", "numpy", "_codecs", "collections", "builtins", "__builtin__")
"""Their classes and data (dtypes, devices, scalars) are everyday content: placeholders without a warning."""

_ACTING_WORDS = """
_aix_support _asyncio _bootsubprocess _ctypes _frozen_importlib _frozen_importlib_external _imp _io
_osx_support _pickle _posixshmem _posixsubprocess _pyio _pyrepl _socket _sqlite3 _ssl _thread _winapi
_xxsubinterpreters antigravity asynchat asyncio asyncore atexit bdb bz2 cloudpickle code codecs codeop
commands compileall concurrent copy_reg copyreg cPickle cProfile ctypes dbm dill distutils doctest
ensurepip fcntl fileinput ftplib gc getpass glob gzip http idlelib imaplib imp importlib inspect io
joblib lib2to3 linecache lzma mailbox marshal mmap modulefinder msvcrt multiprocessing nntplib nt ntpath
operator os pdb pickle pip pipes pkg_resources pkgutil platform popen2 poplib posix posixpath profile
pty py_compile pydoc readline resource rlcompleter runpy sched select selectors setuptools shelve shutil
signal site six smtpd smtplib socket socketserver sqlite3 ssl subprocess sys sysconfig tarfile telnetlib
tempfile termios threading timeit tkinter tokenize trace tracemalloc tty turtle types unittest urllib
urllib2 venv webbrowser winreg wsgiref xmlrpc zipapp zipfile zipimport
"""
_ACTING_ROOTS = frozenset(_ACTING_WORDS.split())
"""Modules of which no name belongs in a checkpoint: they run code, open files or connections, or find those
that do."""

_ACTING_NAMES = (
    "logging.FileHandler",
    "logging.config",
    "logging.handlers",
    "numpy.DataSource",
    "numpy.ctypeslib",
    "numpy.distutils",
    "numpy.f2py",
    "numpy.fromfile",
    "numpy.load",
    "numpy.loadtxt",
    "numpy.genfromtxt",
    "numpy.memmap",
    "numpy.save",
    "numpy.testing",
    "pandas.eval",
    "pandas.io",
    "pandas.read_",
    "torch._dynamo",
    "torch._inductor",
    "torch.classes",
    "torch.compile",
    "torch.distributed.rpc",
    "torch.fx",
    "torch.hub",
    "torch.jit",
    "torch.load",
    "torch.multiprocessing",
    "torch.ops",
    "torch.package",
    "torch.save",
    "torch.serialization",
    "torch.storage._load_from_bytes",
    "torch.utils.collect_env",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
)

_PATHS = frozenset(f"{kind}{part}" for kind in ("Pure", "") for part in ("Path", "PosixPath", "WindowsPath"))


def can_act(module: str, name: str) -> bool:
    """Whether ``module.name`` could run code, open something, or fetch what does, in an ordinary loader."""
    root, attributes, full = module.partition(".")[0], name.split("."), f"{module}.{name}"
    if full in _PLAIN_NAMES:
        return False
    if root in ("builtins", "__builtin__", "__builtins__"):
        return name not in _PLAIN_BUILTINS
    if root == "pathlib":
        return name not in _PATHS
    if root in _ACTING_ROOTS or any(map(_reaches_out, attributes)):
        return True
    return any(_at_or_below(full, acting) for acting in _ACTING_NAMES)


def _reaches_out(attribute: str) -> bool:
    """Whether an attribute leads from any module to one that acts: ``torch.serialization.os.system``."""
    return attribute in _ACTING_ROOTS or (attribute.startswith("__") and attribute.endswith("__"))


def _at_or_below(full: str, acting: str) -> bool:
    return full == acting or full.startswith(acting if acting.endswith("_") else f"{acting}.")


class Globals:
    """Resolves the names of one file and remembers the foreign ones.

    Attributes:
        foreign: names of unknown classes met so far, in order (the values mean nothing).
    """

    def __init__(self, where: object) -> None:
        self.where = where
        self.foreign: dict[str, None] = {}

    def find(self, module: str, name: str) -> object:
        """The stand-in for ``module.name``.

        Raises:
            CheckpointError: the name can act; the file is refused.
        """
        full = f"{module}.{name}"
        if full in KNOWN:
            return KNOWN[full]
        if full in DTYPES or (module in ("torch", "torch.storage") and name.endswith("Storage")):
            return StorageType(full, DTYPES.get(full))
        if can_act(module, name):
            raise refused(f"it names {full}, which could act on this machine", self.where)
        if module.partition(".")[0] not in _PLAIN_MODULES:
            self.foreign[printable(full)] = None
        return Foreign(full)


def refused(reason: str, where: object) -> CheckpointError:
    """The error for a file that no honest checkpoint looks like."""
    return CheckpointError(
        f"refused as hostile: {reason}",
        where=where,
        remedy="get the checkpoint from its authors and convert it with `foundry-edge import-teacher`",
    )
