"""Where Q/DQ pairs go: the linear maps of a graph, chosen by module name."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from foundry_edge_runtime.errors import InputError

_WIDE = ("tokenizer.pooled", "tokenizer.point", "tokenizer.leave")
POLICIES: dict[str, tuple[str, ...]] = {
    "all-linear": ("blocks.", "cau_", "dso.value", "tokenizer.", "position."),
    "wide": ("blocks.", "cau_", "dso.value", *_WIDE),
    "after-assignment": ("blocks.", "cau_", "dso.value"),
    "encoder": ("blocks.",),
}
"""Policy -> prefixes of the modules quantised, widest first.

What feeds DSO's argmax (tokenizer, positions, keys, queries) flips assignments when it is quantised.
``after-assignment`` leaves all of it in float. ``wide`` takes the three widest maps of the tokenizer, where
most of the multiply-accumulates are; its first map and the positions, which read coordinates, lose far more
than they save. Attention products have no constant operand and the head decides classes: neither is ever
quantised.
"""
AUTO = "auto"
AUTO_ORDER = ("wide", "after-assignment", "encoder")
"""What ``auto`` tries, in order, until the gates are passed."""
DEFAULT_POLICY = AUTO


def policies_to_try(policy: str) -> tuple[str, ...]:
    """The policies that a --quantize value stands for.

    Raises:
        InputError: there is no such policy.
    """
    if policy == AUTO:
        return AUTO_ORDER
    if policy not in POLICIES:
        raise InputError(
            f"unknown value {policy!r}",
            where="--quantize",
            remedy=f"use one of {', '.join((AUTO, *POLICIES))}",
        )
    return (policy,)


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


def choose_sites(model: onnx.ModelProto, policy: str, keep: tuple[str, ...] = ()) -> list[Site]:
    """The maps that a policy quantises, without those whose module is, or lies in, one of ``keep``.

    Raises:
        InputError: a name in ``keep`` is no module with a linear map, or nothing is left.
    """
    sites = linear_sites(model)
    for name in keep:
        if not any(_within(site.module, name) for site in sites):
            known = sorted({".".join(site.module.split(".")[:2]) for site in sites})
            raise InputError(
                f"no quantised module {name!r}",
                where="--keep-float",
                remedy=f"use e.g. {', '.join(known[:4])}",
            )
    chosen = [
        site
        for site in sites
        if site.module.startswith(POLICIES[policy]) and not any(_within(site.module, name) for name in keep)
    ]
    if not chosen:
        raise InputError(
            "nothing is left to quantise", where="--keep-float", remedy="keep less, or use --precision fp32"
        )
    return chosen


def _within(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")
