"""Curves over a logarithmic axis as an SVG, without any library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 36, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points `(x, y)`, x above 0 and ascending, y in 0..1."""

    label: str
    points: Sequence[tuple[float, float]]


def plot(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> str:
    """Return an SVG of the curves, x logarithmic, y from 0 to 1; its `<desc>` holds the points as text."""
    xs = sorted({x for curve in curves for x, _ in curve.points})
    low, high = xs[0] / 1.1, xs[-1] * 1.1

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / low) / math.log(high / low)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y

    body = [_text(WIDTH / 2, 20, title), _text(WIDTH / 2, HEIGHT - 10, x_label), _text(LEFT, TOP - 8, y_label)]
    for tenth in range(0, 11, 2):
        body += [
            _line(LEFT, up(tenth / 10), WIDTH - RIGHT, up(tenth / 10)),
            _text(LEFT - 14, up(tenth / 10) + 4, f"{tenth / 10:g}"),
        ]
    for x in xs:
        body += [_line(across(x), up(0), across(x), up(0) + 4), _text(across(x), up(0) + 17, f"{x:g}")]
    for number, curve in enumerate(curves):
        colour, base = COLOURS[number % len(COLOURS)], HEIGHT - BOTTOM - 14 * (len(curves) - number) + 4
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve.points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in curve.points]
        body.append(
            f'<text x="{WIDTH - RIGHT - 6}" y="{base}" text-anchor="end" fill="{colour}">{escape(curve.label)}</text>'
        )
    described = "; ".join(f"{c.label}: " + ", ".join(f"{x:g} {y:.4f}" for x, y in c.points) for c in curves)
    fonts = 'font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {fonts}>'
    white = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", f"<desc>{escape(described)}</desc>", white, *body, "</svg>", ""]
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ccc"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="#222">{escape(text)}</text>'
