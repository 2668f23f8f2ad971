"""One colour a class, the same in the pictures, in the viewer and in the table."""

from colorsys import hsv_to_rgb

FIRST = (
    "#ff9f1c",
    "#2ec4ff",
    "#7ae582",
    "#ff5d8f",
    "#ffe066",
    "#b388ff",
    "#00c2a8",
    "#ff7043",
)
"""Colours that are told apart on grey, and from each other by most people."""

GOLDEN = 0.618033988749895
"""Steps of this share of the circle never come back to a hue that was there."""


def colour_of(index: int) -> str:
    """Choose the colour of a class.

    Args:
        index: Position of the class, from 0.

    Returns:
        The colour, ``#rrggbb``.
    """
    if index < len(FIRST):
        return FIRST[index]
    red, green, blue = hsv_to_rgb(index * GOLDEN % 1.0, 0.45 + 0.2 * (index % 3), 1.0)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
