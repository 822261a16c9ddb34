import pytest

from genir.progress import tracked


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
