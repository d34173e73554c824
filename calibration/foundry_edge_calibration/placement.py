"""Where Q/DQ pairs go: the linear maps of a graph, chosen by module name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from foundry_edge_runtime.errors import InputError

_ENCODER = ("blocks.",)
_AFTER = (*_ENCODER, "cau_", "dso.value")
_BEFORE = ("tokenizer.", "mixing.")
POLICIES: dict[str, tuple[str, ...]] = {
    "all-linear": (*_AFTER, *_BEFORE, "position."),
    "wide": (*_AFTER, *_BEFORE),
    "after-assignment": _AFTER,
    "encoder": _ENCODER,
}
"""Policy -> prefixes of the modules quantised, widest first.

What feeds DSO's argmax (tokenizer, mixing blocks, positions, keys, queries) flips assignments when it is
quantised. ``after-assignment`` leaves all of it in float. ``wide`` takes the tokenizer, where most of the
multiply-accumulates are, and the mixing blocks, but no map that reads coordinates: those lose far more than
they save. Attention products have no constant operand, gate and head decide: none of them is ever quantised.
"""
WITH_COORDINATES = frozenset({"all-linear"})
"""Policies that also quantise the maps that read coordinates."""
AUTO = "auto"
WIDEST = "wide"
"""What ``auto`` begins with; it takes blocks out until the gates are passed."""
DEFAULT_POLICY = AUTO
_RESHAPING = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Identity", "Mul", "Div"}
)


def check_policy(policy: str) -> None:
    """Refuse an unknown policy.

    Raises:
        InputError: there is no such policy.
    """
    if policy not in (AUTO, *POLICIES):
        raise InputError(
            f"unknown value {policy!r}",
            where="--quantize",
            remedy=f"use one of {', '.join((AUTO, *POLICIES))}",
        )


@dataclass(frozen=True)
class Site:
    """One linear map to quantise.

    Attributes:
        node: name of its MatMul.
        module: for example ``blocks.3.attn.qkv``.
        activation: its input tensor.
        weight: its initializer (in, out).
    """

    node: str
    module: str
    activation: str
    weight: str


def linear_sites(model: onnx.ModelProto) -> list[Site]:
    """Every MatMul with a constant two-dimensional right operand, in graph order."""
    constants = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    return [
        Site(node.name, node.name.rpartition("/")[0], node.input[0], node.input[1])
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in constants
    ]


def choose_sites(model: onnx.ModelProto, policy: str, keep: Sequence[str] = ()) -> list[Site]:
    """The maps that a policy quantises (``auto``: begins with), without those that lie in one of ``keep``.

    Args:
        model: FP32, nodes named after their modules.
        policy: a name in `POLICIES`, or ``auto``.
        keep: modules as in the sensitivity table, such as ``blocks.1``; ``block.1`` is the same.

    Raises:
        InputError: a name in ``keep`` is no module with a linear map, or nothing is left.
    """
    sites = linear_sites(model)
    for name in keep:
        if not any(within(site.module, name) for site in sites):
            known = dict.fromkeys(block_of(site.module) for site in sites)
            raise InputError(
                f"no quantised module {name!r}",
                where="--keep-float",
                remedy=f"use one of {', '.join(known)}, or a module in one",
            )
    name = WIDEST if policy == AUTO else policy
    coordinates = set() if name in WITH_COORDINATES else _coordinates(model)
    chosen = [
        site
        for site in sites
        if site.module.startswith(POLICIES[name])
        and site.activation not in coordinates
        and not any(within(site.module, kept) for kept in keep)
    ]
    if not chosen:
        raise InputError(
            "nothing is left to quantise", where="--keep-float", remedy="keep less, or use --precision fp32"
        )
    return chosen


def block_of(module: str) -> str:
    """``blocks.3.attn.qkv`` belongs to ``blocks.3``, ``cau_mlp.fc1`` to ``cau_mlp``."""
    parts = module.split(".")
    return parts[0] if parts[0].startswith("cau") else ".".join(parts[:2])


def within(module: str, name: str) -> bool:
    """Whether ``module`` is, or lies in, the one named; ``block.1`` means ``blocks.1``."""
    full = f"blocks.{name.removeprefix('block.')}" if name.startswith("block.") else name
    return module == full or module.startswith(full + ".")


def _coordinates(model: onnx.ModelProto) -> set[str]:
    """The graph's inputs, whatever shape and constant factor they were given."""
    constants = {tensor.name for tensor in model.graph.initializer}
    names = {value.name for value in model.graph.input}
    for node in model.graph.node:
        read = set(node.input) - constants
        if node.op_type in _RESHAPING and read and read <= names:
            names.add(node.output[0])
    return names
