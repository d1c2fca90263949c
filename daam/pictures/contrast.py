"""Colours for text that can be read on any ground, by WCAG 2.2. Knows no picture."""

from __future__ import annotations

ENOUGH = 4.5
"""The contrast that WCAG asks of text (success criterion 1.4.3)."""
Rgb = tuple[int, int, int]
_DARK, _LIGHT = (16, 16, 20), (250, 250, 250)


def luminance(colour: Rgb) -> float:
    """Relative luminance, 0..1."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    """1 for the same colour to 21 for black on white."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_colour(ground: Rgb) -> Rgb:
    """Nearly black or nearly white; the pure colour where the ground is so grey that it takes all of it."""
    best = max((_DARK, _LIGHT), key=lambda colour: contrast(colour, ground))
    if contrast(best, ground) >= ENOUGH:
        return best
    return max(((0, 0, 0), (255, 255, 255)), key=lambda colour: contrast(colour, ground))


def note_colour(ground: Rgb) -> Rgb:
    """The text's colour, faded into the ground as far as it can still be read."""
    text = text_colour(ground)
    for share in (0.35, 0.25, 0.15, 0.05):
        red, green, blue = (round(own + share * (other - own)) for own, other in zip(text, ground))
        if contrast((red, green, blue), ground) >= ENOUGH:
            return red, green, blue
    return text
