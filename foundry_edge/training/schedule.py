"""Learning-rate and momentum schedules as pure functions of the progress 0..1."""

from __future__ import annotations

import math


def cosine(progress: float, start: float, end: float) -> float:
    """Half a cosine from ``start`` (progress 0) to ``end`` (progress 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2


def warmup_cosine(step: int, steps: int, warmup: float, peak: float, floor: float = 0.01) -> float:
    """Linear warm-up over ``warmup`` of the steps, then a cosine down to ``floor * peak``."""
    rising = max(int(steps * warmup), 1)
    if step < rising:
        return peak * (step + 1) / rising
    return cosine((step - rising) / max(steps - rising, 1), peak, floor * peak)
