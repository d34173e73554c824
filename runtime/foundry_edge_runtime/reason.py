"""Why an engine was chosen, in a few words for people."""

from __future__ import annotations

import math

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.candidates import Candidate


def why(best: Candidate, budget: Budget, count: int) -> str:
    """Of an engine that keeps within the budget, chosen from ``count``."""
    limits = _limits(budget)
    if count == 1 and not limits:
        return "the one asked for" if budget.tokens or budget.precision else "the only one in the bundle"
    text = f"{_adjective(best, budget)} {limits or f'of {count}'}"
    return f"{text} ({_figures(best, budget)})" if _figures(best, budget) else text


def _adjective(best: Candidate, budget: Budget) -> str:
    if budget.prefer != "accuracy":
        return {"latency": "the fastest", "memory": "the smallest in memory"}[budget.prefer]
    if best.stated:
        return "the most accurate"
    return "the most faithful to its teacher" if best.rung.fidelity else "the one with most tokens"


def why_not(best: Candidate, budget: Budget) -> str:
    """Of an engine that is taken although none keeps within the budget."""
    figures = _figures(best, budget)
    limits = f"keeps {_limits(budget)}" if _most(budget) else f"has {_least(budget)}"
    return f"none {limits}; this is the closest" + (f" ({figures})" if figures else "")


def loosen(budget: Budget) -> str:
    """What to do about a budget that no engine keeps."""
    parts = [
        "raise --max-latency-ms" if budget.max_latency_ms is not None else "",
        "raise --max-memory-mb" if budget.max_memory_mb is not None else "",
        "lower --min-accuracy" if budget.min_accuracy else "",
        "leave out --strict",
    ]
    return " or ".join(filter(None, parts))


def _limits(budget: Budget) -> str:
    least = _least(budget)
    return " ".join(filter(None, (_most(budget), f"with {least}" if least else "")))


def _least(budget: Budget) -> str:
    return f"an accuracy of at least {budget.min_accuracy:g} %" if budget.min_accuracy else ""


def _most(budget: Budget) -> str:
    parts = [
        f"{budget.max_latency_ms:g} ms" if budget.max_latency_ms is not None else "",
        f"{budget.max_memory_mb:g} MiB" if budget.max_memory_mb is not None else "",
    ]
    return f"within {', '.join(filter(None, parts))}" if any(parts) else ""


def _figures(best: Candidate, budget: Budget) -> str:
    accuracy, fidelity = best.rung.accuracy, best.rung.fidelity
    parts = [
        f"{best.latency:.1f} ms p90" if budget.max_latency_ms is not None and best.measured else "",
        f"{best.memory:.0f} MiB" if budget.max_memory_mb is not None and math.isfinite(best.memory) else "",
        f"accuracy {accuracy.value:.1f} %" if accuracy else "",
        f"cosine {fidelity.cosine_mean:.4f}" if fidelity and not best.stated else "",
    ]
    return ", ".join(part for part in parts if part)
