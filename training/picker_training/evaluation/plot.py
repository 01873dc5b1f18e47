"""F1 of each class against its mass, drawn as a small SVG without any library."""

import math
from collections.abc import Mapping
from html import escape

from picker_training.evaluation.masses import LARGE_KDA, SMALL_KDA, MassPoint, f1_by_mass

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 36, 48
DECADE_STEPS = (1, 2, 5)
LABEL_WIDTH, LABEL_HEIGHT = 34, 12


def f1_against_mass(class_f1: Mapping[str, float | None], *, title: str) -> str:
    """Return an SVG: one point a class that has a mass and an F1, masses on a logarithmic axis, size groups ruled off.

    Its `<desc>` holds the points as text.
    """
    points = f1_by_mass(class_f1)
    low, high = _range(points)
    body = [*_axes(low, high), *_points(points, low, high)]
    described = "; ".join(f"{point.name} {point.mass_kda:g} kDa {point.f1:.3f}" for point in points)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' font-family="sans-serif" font-size="11" fill="#222">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(described)}</desc>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            _text(WIDTH / 2, 20, title, anchor="middle", size=13),
            *body,
            "</svg>",
            "",
        ]
    )


def _range(points: list[MassPoint]) -> tuple[float, float]:
    """Return the ends of the mass axis in kDa."""
    masses = [point.mass_kda for point in points] or [SMALL_KDA, LARGE_KDA]
    return min(*masses, SMALL_KDA) / 1.5, max(*masses, LARGE_KDA) * 1.5


def _x(mass: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(mass / low) / math.log(high / low)


def _y(f1: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * f1


def _axes(low: float, high: float) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y, "#ddd"), _text(LEFT - 6, y + 4, f"{tenth / 10:.1f}", anchor="end")]
    ticks = (step * 10.0**power for power in range(-1, 7) for step in DECADE_STEPS)
    for mass in (tick for tick in ticks if low <= tick <= high):
        x = _x(mass, low, high)
        parts += [_line(x, _y(0), x, _y(0) + 4, "#222"), _text(x, _y(0) + 17, f"{mass:g}", anchor="middle")]
    parts += [_line(_x(edge, low, high), _y(0), _x(edge, low, high), _y(1), "#bbb") for edge in (SMALL_KDA, LARGE_KDA)]
    parts += [_line(LEFT, _y(0), WIDTH - RIGHT, _y(0), "#222"), _line(LEFT, _y(0), LEFT, _y(1), "#222")]
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "mass (kDa)", anchor="middle"), _text(14, TOP - 10, "F1")]
    return parts


def _points(points: list[MassPoint], low: float, high: float) -> list[str]:
    """Return the dots, each with its name at the nearest place that is free."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for point in points:
        x, y = _x(point.mass_kda, low, high), _y(point.f1)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#1f77b4"/>')
        steps = [-8.0 - LABEL_HEIGHT * i for i in range(10)] + [16.0 + LABEL_HEIGHT * i for i in range(10)]
        places = [y + step for step in sorted(steps, key=abs) if TOP < y + step < HEIGHT - BOTTOM]
        at = next((place for place in places if not _overlaps(x, place, taken)), y - 8.0)
        taken.append((x, at))
        parts.append(_text(x, at, point.name, anchor="middle"))
    return parts


def _overlaps(x: float, y: float, taken: list[tuple[float, float]]) -> bool:
    return any(abs(x - left) < LABEL_WIDTH and abs(y - top) < LABEL_HEIGHT for left, top in taken)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
