import io

import pytest
import torch
from rich.console import Console

from genir.training.progress_display import Display

ROW = {"step": 5, "seconds": 61.2, "loss": 1.2345, "RR@10": 0.5, "Success@10": 0.75}


def test_off_a_terminal_a_measurement_is_a_line(capsys):
    with Display(10, 0, shown=True) as display:
        for _ in range(5):
            display.advance(torch.tensor(2.0))
        display.show_dev_metrics(ROW, asked=True)
        display.show_dev_metrics({**ROW, "step": 0, "loss": None}, asked=True)
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert " ".join(first.split()) == "step 5/10 61 s loss 1.234 dev RR@10 0.500 Success@10 0.750"
    assert "loss -" in second and shown.out == ""


def test_without_dev_questions_a_measurement_has_no_dev_figures(capsys):
    with Display(10, 0, shown=True) as display:
        display.show_dev_metrics({**ROW, "RR@10": 0.0, "Success@10": 0.0}, asked=False)
    assert " ".join(capsys.readouterr().err.split()) == "step 5/10 61 s loss 1.234"


def test_other_processes_say_nothing(capsys):
    with Display(10, 0, shown=False) as display:
        display.advance(torch.tensor(2.0))
        display.show_dev_metrics(ROW, asked=True)
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
    with Display(10, 3, shown=True) as display:
        for _ in range(2):
            display.advance(torch.tensor(2.0))
        display.show_dev_metrics(ROW, asked=True)
        display.bar.refresh()
    shown = terminal.getvalue()
    assert "5/10" in shown and "loss 2.000" in shown and "dev RR@10 0.500" in shown
