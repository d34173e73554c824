"""Where Q/DQ pairs go: the linear maps of a graph, chosen by module name."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from foundry_edge_runtime.errors import InputError

POLICIES: dict[str, tuple[str, ...]] = {
    "encoder": ("blocks.",),
    "after-assignment": ("blocks.", "cau_", "dso.value"),
    "all-linear": ("blocks.", "cau_", "dso.value", "tokenizer.", "position."),
}
"""Policy -> prefixes of the modules quantised.

Whatever feeds DSO's argmax (tokenizer, positions, keys, queries) flips assignments when it is quantised, so
only ``all-linear`` touches it. Attention products have no constant operand and the head decides classes:
neither is ever quantised.
"""
DEFAULT_POLICY = "after-assignment"


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


def choose_sites(
    model: onnx.ModelProto, policy: str = DEFAULT_POLICY, keep: tuple[str, ...] = ()
) -> list[Site]:
    """The maps that ``policy`` quantises, without those whose module starts with a name in ``keep``.

    Raises:
        InputError: no such policy, or a name in ``keep`` is no quantised module.
    """
    if policy not in POLICIES:
        raise InputError(
            f"no quantisation policy {policy!r}",
            where="--quantize",
            remedy=f"use one of {', '.join(POLICIES)}",
        )
    sites = [site for site in linear_sites(model) if site.module.startswith(POLICIES[policy])]
    for name in keep:
        if not any(_within(site.module, name) for site in sites):
            known = sorted({".".join(site.module.split(".")[:2]) for site in sites})
            raise InputError(
                f"no quantised module {name!r}",
                where="--keep-float",
                remedy=f"use e.g. {', '.join(known[:4])}",
            )
    chosen = [site for site in sites if not any(_within(site.module, name) for name in keep)]
    if not chosen:
        raise InputError(
            "nothing is left to quantise", where="--keep-float", remedy="keep less, or use --precision fp32"
        )
    return chosen


def _within(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")
