"""A pickle machine that can build data and nothing else.

It runs the opcodes of Python's pickle protocols 0 to 5 (see ``pickletools`` in the standard library, whose
decoder checks every length against what is left of the file). Names go to `Globals`, which imports nothing;
calls reach only the functions of its fixed list; anything else that is called, instantiated or given a state
is a placeholder.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pickletools import genops
from typing import IO, Any

from foundry_edge.teachers.globals import Foreign, Globals, Known, check_key, mapping, refused
from foundry_edge.teachers.tensors import TensorRef

MAX_OPERATIONS = 1_000_000
"""Bounds memory and time: the largest published checkpoint takes under 100,000."""
MAX_VALUE = 1 << 20
"""Longer texts and byte strings are left out: data sets that hyper-parameters drag along, never tensors."""
_LARGE = Foreign("a value of more than a MiB")

_VALUE_WORDS = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE
BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
"""
_VALUES = frozenset(_VALUE_WORDS.split())
_FRESH: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NO_EFFECT = frozenset({"PROTO", "FRAME"})


class Machine:
    """Runs one pickle.

    Args:
        names: resolves globals.
        persistent: makes an object of a persistent id.
    """

    def __init__(self, names: Globals, persistent: Callable[[object], object]) -> None:
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """The object of the pickle that starts at ``stream``'s position; the stream ends up after it.

        Raises:
            CheckpointError: a name or opcode could act.
            ValueError, TypeError, LookupError: the pickle is damaged or truncated.
        """
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # the decoder's, about odd escapes in old texts
            for count, (opcode, argument, _) in enumerate(genops(stream)):
                if count >= MAX_OPERATIONS:
                    raise ValueError(f"more than {MAX_OPERATIONS} pickle operations")
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(_LARGE if _is_large(argument) else argument)
        elif name in _FRESH:
            self.stack.append(_FRESH[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._make(tuple(self._pop(count)))
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        elif name not in _NO_EFFECT:
            raise refused(f"it uses the pickle opcode {name}", self.names.where)

    def _make(self, value: object) -> None:
        self.stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("the pickle takes more from its stack than is there")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _pop_mark(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _drop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._pop_mark()

    def _drop_to_mark(self, _: Any) -> None:
        self._pop_mark()

    def _duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def _get(self, index: Any) -> None:
        self.stack.append(self.memo[index])

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._make(self.names.find(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a global is named by something that is no text")
        self._make(self.names.find(module, name))

    def _persistent(self, argument: Any) -> None:
        self._make(self.persistent(self.stack.pop() if argument is None else argument))

    def _reduce(self, _: Any) -> None:
        function, arguments = self._pop(2)
        self._make(self._called(function, arguments))

    def _new_object(self, _: Any) -> None:
        self._reduce(None)

    def _new_object_with_names(self, _: Any) -> None:
        kind, arguments, _names = self._pop(3)
        self._make(self._called(kind, arguments))

    def _object(self, _: Any) -> None:
        kind, *arguments = self._pop_mark()
        self._make(self._called(kind, tuple(arguments)))

    def _instance(self, argument: Any) -> None:
        arguments = tuple(self._pop_mark())
        self._global(argument)
        self._make(self._called(self.stack.pop(), arguments))

    def _called(self, function: object, arguments: object) -> object:
        if not isinstance(arguments, tuple):
            raise TypeError("a call's arguments are no tuple")
        if isinstance(function, Known):
            return function.call(*arguments)
        if isinstance(function, Foreign):
            return Foreign(function.name)
        raise refused(f"it calls {type(function).__name__}, which is no function", self.names.where)

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, tuple) and state:
            state = state[0]
        if isinstance(target, Foreign):
            target.state = state
        elif not isinstance(target, (TensorRef, dict)):
            raise TypeError("a state is given to something that has none")

    def _set_item(self, _: Any) -> None:
        key, value = self._pop(2)
        self._add_items([key, value])

    def _set_items(self, _: Any) -> None:
        self._add_items(self._pop_mark())

    def _add_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Foreign) else target
        if not isinstance(items, dict):
            raise TypeError("items are set on something that is no mapping")
        items.update(mapping(_pairs(flat)))

    def _append(self, _: Any) -> None:
        self._extend(self._pop(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._pop_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(_checked(values))
        elif isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Foreign):
            raise TypeError("values are appended to something that is no list")


_OPERATIONS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": Machine._mark,
    "POP": Machine._drop,
    "POP_MARK": Machine._drop_to_mark,
    "DUP": Machine._duplicate,
    "PUT": Machine._put,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "MEMOIZE": Machine._put,
    "GET": Machine._get,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "PERSID": Machine._persistent,
    "BINPERSID": Machine._persistent,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._new_object,
    "NEWOBJ_EX": Machine._new_object_with_names,
    "OBJ": Machine._object,
    "INST": Machine._instance,
    "BUILD": Machine._build,
    "SETITEM": Machine._set_item,
    "SETITEMS": Machine._set_items,
    "ADDITEMS": Machine._appends,
    "APPEND": Machine._append,
    "APPENDS": Machine._appends,
    "LIST": lambda machine, _: machine._make(machine._pop_mark()),
    "TUPLE": lambda machine, _: machine._make(tuple(machine._pop_mark())),
    "DICT": lambda machine, _: machine._make(mapping(_pairs(machine._pop_mark()))),
    "FROZENSET": lambda machine, _: machine._make(frozenset(_checked(machine._pop_mark()))),
}


def _is_large(value: object) -> bool:
    return isinstance(value, (str, bytes, bytearray)) and len(value) > MAX_VALUE


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _checked(values: list[Any]) -> list[Any]:
    for value in values:
        check_key(value)
    return values
