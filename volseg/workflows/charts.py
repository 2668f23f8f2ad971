"""Charts as SVG text: they need no library, scale to any screen and follow the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isnan

COLOURS = ("#2a7ab8", "#d9772b", "#4b9b5f", "#8a63b5")
"""Of the series, in their order."""

WIDTH, HEIGHT = 300.0, 200.0
"""Of a panel, in pixels at its own scale."""

LEFT, RIGHT, TOP, BOTTOM = 38.0, 8.0, 24.0, 38.0

FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Point:
    """One place of a curve.

    Args:
        mean: The mean; `nan` draws nothing.
        low: Lower end of its interval.
        high: Upper end.
        quartiles: Lowest value, quartiles and highest value of the cases; empty draws no box.
    """

    mean: float
    low: float
    high: float
    quartiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Curves over the same places.

    Args:
        title: Heading.
        axis: What the places are.
        ticks: Name of each place.
        series: One curve a series, one point a place.
        limits: Lower and upper end of the values.
        is_joined: Whether a line joins the places of a series; not where they have no order.
        is_bars: Whether a value is the height of a bar, as of counts, and not a dot.
    """

    title: str
    axis: str
    ticks: Sequence[str]
    series: Sequence[Sequence[Point]]
    limits: tuple[float, float] = (0.0, 1.0)
    is_joined: bool = True
    is_bars: bool = False

    def to_svg(self, left: float = 0.0, top: float = 0.0) -> str:
        """Draw it as a group.

        Args:
            left: Where it lies in the picture.
            top: Likewise.

        Returns:
            A ``g`` element.
        """
        parts = [_text(LEFT, 14, self.title, 12, "start", weight=600), self._grid()]
        parts += [
            self._series(points, number, COLOURS[number % len(COLOURS)])
            for number, points in enumerate(self.series)
        ]
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(_text(middle, HEIGHT - 6, self.axis, 10, "middle"))
        return f'<g transform="translate({left:g} {top:g})">{"".join(parts)}</g>'

    def _grid(self) -> str:
        low, high = self.limits
        parts = []
        for step in range(5):
            value = low + (high - low) * step / 4
            y = self._y(value)
            line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'{line} stroke="currentColor" stroke-opacity=".15"/>')
            said = f"{value:.2f}" if 0.04 <= high - low <= 2 else f"{value:.4g}"
            parts.append(_text(LEFT - 5, y + 3, said, 9, "end"))
        for place, tick in enumerate(self.ticks):
            parts.append(_text(self._x(place), HEIGHT - 22, tick, 9, "middle"))
        return "".join(parts)

    def _series(self, points: Sequence[Point], number: int, colour: str) -> str:
        shift = 9.0 * (number - (len(self.series) - 1) / 2)
        known = [
            (self._x(place) + shift, point)
            for place, point in enumerate(points)
            if not isnan(point.mean)
        ]
        if self.is_bars:
            return "".join(self._bar(x, point, colour) for x, point in known)
        parts = [self._box(x, point, colour) for x, point in known]
        path = " ".join(f"{x:.1f},{self._y(point.mean):.1f}" for x, point in known)
        if self.is_joined:
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        for x, point in known:
            if not isnan(point.low):
                parts.append(_line(x, self._y(point.low), self._y(point.high), colour, 2.5))
            parts.append(
                f'<circle cx="{x:.1f}" cy="{self._y(point.mean):.1f}" r="3" fill="{colour}"/>'
            )
        return "".join(parts)

    def _bar(self, x: float, point: Point, colour: str) -> str:
        top, foot = self._y(point.mean), HEIGHT - BOTTOM
        width = 0.7 * (WIDTH - LEFT - RIGHT) / max(1, len(self.ticks))
        bar = f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}"'
        bar += f' height="{max(foot - top, 0):.1f}" fill="{colour}" fill-opacity=".75"/>'
        if isnan(point.low):
            return bar
        return bar + _line(x, self._y(point.low), self._y(point.high), "currentColor", 1.5)

    def _box(self, x: float, point: Point, colour: str) -> str:
        if len(point.quartiles) != 5 or isnan(point.quartiles[0]):
            return ""
        lowest, low, middle, high, highest = (self._y(value) for value in point.quartiles)
        box = f'<rect x="{x - 4:.1f}" y="{high:.1f}" width="8" height="{max(low - high, 0.5):.1f}"'
        median = f'<line x1="{x - 4:.1f}" x2="{x + 4:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
        return (
            _line(x, lowest, highest, colour, 0.8)
            + f'{box} fill="{colour}" fill-opacity=".22"/>'
            + f'{median} stroke="{colour}"/>'
        )

    def _x(self, place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / max(1, len(self.ticks))

    def _y(self, value: float) -> float:
        low, high = self.limits
        share = (min(max(value, low), high) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def draw_panels(
    panels: Sequence[Panel], names: Sequence[str], columns: int = 3, *, background: str = ""
) -> str:
    """Draw panels side by side.

    Args:
        panels: The panels.
        names: Name of each series; one is not named.
        columns: Panels in a row.
        background: A colour; empty: that of the page.

    Returns:
        An ``svg`` element that stands alone, too.
    """
    columns = min(columns, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    header = 22.0 if len(names) > 1 else 0.0
    width, height = columns * WIDTH, rows * HEIGHT + header
    parts = [
        panel.to_svg(WIDTH * (place % columns), header + HEIGHT * (place // columns))
        for place, panel in enumerate(panels)
    ]
    if header:
        for number, name in enumerate(names):
            colour, x = COLOURS[number % len(COLOURS)], LEFT + number * width / len(names)
            parts.append(f'<circle cx="{x:.0f}" cy="11" r="4" fill="{colour}"/>')
            parts.append(_text(x + 9, 15, name, 11, "start"))
    ground = f'<rect width="100%" height="100%" fill="{escape(background)}"/>' if background else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
    wide = f'class="chart" style="max-width: {24 * columns}rem"'
    return f"{head} {wide}>{ground}{''.join(parts)}</svg>"


def _line(x: float, first: float, last: float, colour: str, width: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{first:.1f}" y2="{last:.1f}" stroke="{colour}"'
        f' stroke-width="{width}"/>'
    )


def _text(x: float, y: float, text: str, size: int, anchor: str, weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" font-weight="{weight}"'
        f' fill="currentColor" text-anchor="{anchor}">{escape(text)}</text>'
    )
