"""Curves: lines over a common axis, drawn as a small SVG without any library."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 340, 56, 130, 36, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")

Curve = Sequence[tuple[float, float]]


def draw_curves(curves: Mapping[str, Curve], *, title: str, x_label: str) -> str:
    """Return an SVG with a line for each named curve; `published` is drawn as dots."""
    xs = [x for curve in curves.values() for x, _ in curve] or [0.0]
    ys = [y for curve in curves.values() for _, y in curve] or [0.0]
    low, high = (min(*xs, 0.0), min(*ys, 0.0)), (max(*xs, 1e-9), max(*ys, 1e-9))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low[0]) / (high[0] - low[0]) * (WIDTH - LEFT - RIGHT)
        up = (y - low[1]) / (high[1] - low[1]) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up

    body = [_text(WIDTH / 2, 20, title, "middle"), _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, "middle")]
    for i in range(5):
        x, y = (low[axis] + (high[axis] - low[axis]) * i / 4 for axis in (0, 1))
        left, bottom = place(low[0], y), place(x, low[1])
        body.append(f'<path d="M{left[0]:.1f} {left[1]:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        body += [
            _text(LEFT - 6, left[1] + 4, f"{y:.3g}", "end"),
            _text(bottom[0], bottom[1] + 17, f"{x:.3g}", "middle"),
        ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(x, y) for x, y in curve]
        if name == "published":
            body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        else:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            body.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        body.append(_text(WIDTH - RIGHT + 10, TOP + 16 * number + 8, name, "start", colour))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([opening, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *body, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
