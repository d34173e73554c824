"""Whose parts: the category that was named, else the most probable class that has parts."""

from __future__ import annotations

from typing import NamedTuple

from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import Parts
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.result import probabilities


class Chosen(NamedTuple):
    """A category by its number in the manifest, and the probability of its class, where it has one."""

    number: int
    score: float | None


def parts_of(bundle: Bundle) -> Parts:
    """The section ``parts`` of a bundle's manifest.

    Raises:
        InputError: it has none.
    """
    if bundle.manifest.parts is None:
        raise InputError(
            f"bundle {bundle.manifest.id} has no head for parts",
            where=bundle.folder,
            remedy="train one with `foundry-edge finetune --task parts --frozen`, then export it",
        )
    return bundle.manifest.parts


def refuse_without_parts(parts: bool, category: str | None) -> None:
    """A category means nothing where no parts are asked for.

    Raises:
        InputError: it was named all the same.
    """
    if category is not None and not parts:
        remedy = "add --parts, in Python parts=True"
        raise InputError("names whose parts are wanted", where="--category", remedy=remedy)


class Categories:
    """The categories of a bundle.

    Args:
        bundle: has a head for parts.
        name: of a category or of its class, in any case; None leaves the choice to the class.

    Raises:
        InputError: the bundle has no head for parts or no such category, or none was named and the bundle
            has no class that has parts.
    """

    def __init__(self, bundle: Bundle, name: str | None = None) -> None:
        self._entries = parts_of(bundle).categories
        labels = bundle.manifest.labels
        self._columns = {
            number: labels.index(one.label)
            for number, one in enumerate(self._entries)
            if one.label in labels and one.label is not None
        }
        self._named = None if name is None else self._numbered(name)
        if self._named is None and not self._columns:
            raise self._unknown("the head names no class that has parts")

    def choose(self, logits: FloatArray | None) -> Chosen:
        """The category of a scan.

        Args:
            logits: (labels,) float32 of the head; None where the engine has no head.

        Raises:
            InputError: none was named and there are no logits.
        """
        if logits is None:
            if self._named is None:
                raise self._unknown("the engine names no class")
            return Chosen(self._named, None)
        scores = probabilities(logits)
        known = {number: float(scores[column]) for number, column in self._columns.items()}
        if self._named is not None:
            return Chosen(self._named, known.get(self._named))
        best = max(known, key=lambda number: known[number])
        return Chosen(best, known[best])

    @property
    def named(self) -> bool:
        """Whether a category was named."""
        return self._named is not None

    def _numbered(self, name: str) -> int:
        wanted = name.casefold()
        names = [one.name.casefold() for one in self._entries]
        labels = [(one.label or "").casefold() for one in self._entries]
        for spelt in (names, labels):
            if wanted in spelt:
                return spelt.index(wanted)
        raise self._unknown(f"no category {name!r} has parts")

    def _unknown(self, problem: str) -> InputError:
        names = ", ".join(one.name for one in self._entries)
        return InputError(problem, where="--category", remedy=f"name one of {names}")
