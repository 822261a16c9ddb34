import struct

import pytest

from genir.training.plots import draw_curve

ROWS = [
    {"step": 0, "loss": None, "RR@10": 0.1, "Success@10": 0.2},
    {"step": 10, "loss": 2.0, "RR@10": 0.3, "Success@10": 0.5},
    {"step": 20, "loss": 1.0, "RR@10": 0.4, "Success@10": 0.6},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_the_curve_is_a_picture(tmp_path, rows):
    draw_curve(rows, "a $title with_odd^ letters", tmp_path / "curve.png")
    content = (tmp_path / "curve.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (840, 480)


def test_other_figures_make_another_picture(tmp_path):
    for name, rows in (("one", ROWS), ("two", ROWS[:2])):
        draw_curve(rows, "title", tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_a_title_is_no_formula(tmp_path):
    history = [{"step": 0, "loss": None, "RR@10": 0.1, "Success@10": 0.2}]
    draw_curve(history, "a $x^{$ \\frac 東京 \x1b[2J", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
