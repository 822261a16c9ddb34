import pytest

from genir.progress import tracked, waiting


@pytest.mark.parametrize("terminal", [False, True])
def test_items_pass_and_a_bar_shows_on_a_terminal_only(terminal, capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich treat a pipe as a terminal
    assert list(tracked(range(5), "embedding")) == [0, 1, 2, 3, 4]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("embedding" in captured.err) == terminal


@pytest.mark.parametrize(("items", "description"), [([7], "embedding"), ([], "x"), ([7, 8], "")])
def test_short_or_nameless_work_shows_no_bar(items, description, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(tracked(items, description)) == items
    assert capsys.readouterr().err == ""


def test_without_a_bar_nothing_is_started(monkeypatch):
    monkeypatch.setattr("genir.progress.Console", None)  # fails if it is called
    items = [7, 8]
    assert tracked(items, "") is items


def test_a_pipe_gets_lines_with_an_estimate(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    clock = iter(range(0, 1000, 3))  # seconds
    monkeypatch.setattr("genir.progress.monotonic", lambda: next(clock))
    assert list(tracked(range(9), "embedding")) == list(range(9))
    assert capsys.readouterr().err.splitlines() == [
        "embedding: 1 of 9, about 48 s left",
        "embedding: 5 of 9, about 14 s left",
    ]


@pytest.mark.parametrize("silent", [0.0, 60.0])
def test_a_wait_without_steps_is_one_line(silent, capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr("genir.progress.SILENT_S", silent)
    with waiting("loading model") as shown:
        shown._timer.join(0 if silent else 10)
    assert capsys.readouterr().err == ("" if silent else "loading model ...\n")


def test_a_wait_shows_a_spinner_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with waiting("loading model"):
        pass
    assert "loading model" in capsys.readouterr().err
