"""Plots as SVG text: no scripts, no fonts, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
_BAR = 20
COLOURS = ("#1f6feb", "#d97706", "#15803d", "#b91c1c", "#7c3aed", "#0e7490", "#a16207", "#475569")


@dataclass(frozen=True)
class Series:
    """A line with its points.

    Attributes:
        name: for the legend.
        colour: of line and points.
        points: (x, y) in the units of the axes, in drawing order.
        labels: one short text per point, or none at all.
    """

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` onto pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) within low..high."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def line_chart(
    title: str,
    x_name: str,
    y_name: str,
    series: Sequence[Series],
    x_ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines over two linear axes.

    Args:
        title: above the plot.
        x_name: with unit.
        y_name: with unit.
        series: at least one point in all.
        x_ticks: value and text of each tick on the x axis; none takes round numbers.
    """
    xs, ys = (_padded([point[i] for one in series for point in one.points]) for i in (0, 1))
    x = Scale(*xs, _LEFT, WIDTH - _RIGHT)
    y = Scale(*ys, HEIGHT - _BOTTOM, _TOP + 16 * len(series))
    parts = [_text(_LEFT, 16, title, "title"), *_y_axis(y, y_name), *_x_axis(x, x_name, x_ticks)]
    for number, one in enumerate(series):
        parts += _drawn(one, x, y)
        parts.append(_legend(one, _TOP + 16 * number))
    return _svg(WIDTH, HEIGHT, title, parts)


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars.

    Args:
        title: above the plot.
        bars: name, length (not negative) and text of each, from the top down.
    """
    name_width = 9 + 7 * max(len(name) for name, _, _ in bars)
    longest = max(*(length for _, length, _ in bars), 1e-30)
    room = WIDTH - name_width - 130
    parts = [_text(0, 16, title, "title")]
    for number, (name, length, text) in enumerate(bars):
        y, size = _TOP + _BAR * number, max(room * length / longest, 1)
        parts.append(_text(name_width - 6, y + 10, name, "end"))
        parts.append(f'<rect x="{name_width}" y="{y}" width="{size:.1f}" height="13" fill="{COLOURS[0]}"/>')
        parts.append(_text(name_width + size + 6, y + 10, text))
    return _svg(WIDTH, _TOP + _BAR * len(bars) + 6, title, parts)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.01
    return low - room, high + room


def _drawn(one: Series, x: Scale, y: Scale) -> list[str]:
    places = [(x(px), y(py)) for px, py in one.points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{one.colour}" stroke-width="1.5"/>']
    if one.labels:
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{one.colour}"/>' for px, py in places]
        parts += [
            _text(px, py - 7, label, "middle") for (px, py), label in zip(places, one.labels, strict=True)
        ]
    return parts


def _legend(one: Series, y: float) -> str:
    mark = f'<rect x="{_LEFT + 8}" y="{y - 7}" width="14" height="4" fill="{one.colour}"/>'
    return mark + _text(_LEFT + 28, y, one.name)


def _y_axis(scale: Scale, name: str) -> list[str]:
    values = ticks(scale.low, scale.high)
    digits = _digits(values)
    parts = [_line(_LEFT, scale.start, _LEFT, _TOP)]
    for value in values:
        place = scale(value)
        parts.append(_line(_LEFT, place, WIDTH - _RIGHT, place, "grid"))
        parts.append(_text(_LEFT - 6, place + 4, f"{value:.{digits}f}", "end"))
    turned = f'transform="rotate(-90 14 {HEIGHT / 2:.0f})"'
    return [*parts, f'<text x="14" y="{HEIGHT / 2:.0f}" class="middle" {turned}>{escape(name)}</text>']


def _x_axis(scale: Scale, name: str, given: Sequence[tuple[float, str]]) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    values = ticks(scale.low, scale.high)
    digits = _digits(values)
    parts = [_line(_LEFT, bottom, WIDTH - _RIGHT, bottom)]
    for value, text in given or [(value, f"{value:.{digits}f}") for value in values]:
        parts.append(_line(scale(value), bottom, scale(value), bottom + 4))
        parts.append(_text(scale(value), bottom + 17, text, "middle"))
    return [*parts, _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, name, "middle")]


def _digits(values: Sequence[float]) -> int:
    """Decimals that tell neighbouring ticks apart."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">' + "".join(parts) + "</svg>"
    )
