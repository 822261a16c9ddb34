"""The page's colours meet WCAG 2.2 AA in both themes: contrast 4.5 for text, 3 for edges."""

import re

import pytest

from genir.serving.search_page import PAGE

TEXT = [
    (front, back)
    for front in ("ink", "soft", "accent", "danger")
    for back in ("paper", "card", "tint")
] + [("ink", "mark"), ("soft", "card")]
EDGES = [("edge", "card"), ("edge", "paper"), ("accent", "line")]


def colours(theme):
    pairs = re.findall(
        r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", (PAGE / "style.css").read_text()
    )
    return {name: light if theme == "light" else dark for name, light, dark in pairs}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (EDGES, 3.0)], ids=["text", "edges"])
def test_contrast(theme, pairs, least):
    palette = colours(theme)
    ratios = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < least} == {}
