"""Which rungs are meant, and which may take the place of one that cannot be built."""

from __future__ import annotations

from collections.abc import Sequence

from foundry_edge_runtime.bundle import Manifest, Rung
from foundry_edge_runtime.errors import InputError

_INSTEAD = {"int8": ("fp16", "fp32"), "int8-fp16": ("fp16", "fp32"), "fp16": ("fp32",)}


def chosen(manifest: Manifest, tokens: Sequence[int], precision: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these budgets and precisions; an empty list means all.

    Raises:
        InputError: the bundle has none of a budget or a precision that was named.
    """
    for count in tokens:
        if all(rung.tokens != count for rung in manifest.rungs):
            raise _unknown(manifest, f"--tokens {count}")
    for name in precision:
        if all(rung.precision != name for rung in manifest.rungs):
            raise _unknown(manifest, f"--precision {name}")
    found = tuple(
        rung
        for rung in manifest.rungs
        if (not tokens or rung.tokens in tokens) and (not precision or rung.precision in precision)
    )
    if not found:
        raise _unknown(manifest, "that combination")
    return found


def stand_ins(manifest: Manifest, lost: Rung) -> tuple[Rung, ...]:
    """Rungs of the same budget that may take a rung's place, the best first."""
    wanted = _INSTEAD.get(lost.precision, ())
    found = (manifest.rung(lost.tokens, precision, lost.bypassed) for precision in wanted)
    return tuple(rung for rung in found if rung is not None)


def _unknown(manifest: Manifest, asked: str) -> InputError:
    return InputError(
        f"bundle {manifest.id} has no rung for {asked}",
        remedy="it has " + ", ".join(rung.name for rung in manifest.rungs),
    )
