import io

import pytest
import torch
from rich.console import Console

from genir.training.progress_display import Display

ROW = {"step": 5, "seconds": 61.2, "loss": 1.2345, "RR@10": 0.5, "Success@10": 0.75}


def test_off_a_terminal_a_measurement_is_a_line(capsys):
    display = Display(10, 0, shown=True)
    with display.bar:
        for step in range(1, 6):
            display.advance(step, torch.tensor(2.0))
        display.show_dev_metrics(ROW)
        display.show_dev_metrics({**ROW, "step": 0, "loss": None})
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert " ".join(first.split()) == "step 5/10 61 s loss 1.234 dev RR@10 0.500 Success@10 0.750"
    assert "loss -" in second and shown.out == ""


def test_without_dev_questions_a_measurement_has_no_dev_figures(capsys):
    display = Display(10, 0, shown=True)
    with display.bar:
        display.show_dev_metrics({**ROW, "RR@10": None, "Success@10": None})
    assert " ".join(capsys.readouterr().err.split()) == "step 5/10 61 s loss 1.234"


def test_other_processes_say_nothing(capsys):
    display = Display(10, 0, shown=False)
    with display.bar:
        display.advance(1, torch.tensor(2.0))
        display.show_dev_metrics(ROW)
    assert capsys.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch):
    """Make consoles write to a simulated terminal."""
    file = io.StringIO()

    def console(**options):
        return Console(**options, file=file, force_terminal=True, width=120)

    monkeypatch.setattr("genir.training.progress_display.Console", console)
    return file


def test_on_a_terminal_a_bar_shows_steps_loss_and_dev(terminal):
    display = Display(10, 3, shown=True)
    with display.bar:
        for step in (4, 5):
            display.advance(step, torch.tensor(2.0))
        display.show_dev_metrics(ROW)
        display.bar.refresh()
    shown = terminal.getvalue()
    assert "5/10" in shown and "loss 2.000" in shown and "dev RR@10 0.500" in shown
