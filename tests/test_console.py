"""Terminal output: escaping, kept characters, and that only the console prints."""

import ast
import errno
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table

import genir
from genir import console
from genir.console import (
    command,
    escape_controls,
    escape_markdown,
    one_line,
    print_json,
    print_line,
    print_table,
    styled,
    to_json,
)
from genir.errors import InputError

LONG = "https://docs.example.org/" + "a-very-long-path/" * 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;ZXZpbA==\x07", r"\x1b]52;c;ZXZpbA==\x07"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m \x90q\x9c \x7f \x00 \x08", r"\x9b31m \x90q\x9c \x7f \x00 \x08"),
        ("abc\u202edcba\u2066x\u2069", r"abc\u202edcba\u2066x\u2069"),
        ("\u200e\u200f\u061c\u2028\u2029\x85", r"\u200e\u200f\u061c\u2028\u2029\x85"),
        ("pay\u200bpal pay\u200cpal \ufeff\u2060", r"pay\u200bpal pay\u200cpal \ufeff\u2060"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        (
            "naïve 東京 😀 👩\u200d💻 \u0645\u06cc\u200c\u062e\u0648 שלום",
            "naïve 東京 😀 👩\u200d💻 \u0645\u06cc\u200c\u062e\u0648 שלום",
        ),
        ("a\ufe0f\U000e0100\U000e0101b", r"a\ufe0f\U000e0100\U000e0101b"),
        ("字\ufe0f\ufe0f é\u200d\u200c", "字\ufe0f\\ufe0f é\u200d\\u200c"),
        ("a\ufe0f\u200db", r"a\ufe0f\u200db"),
        *[
            (shown, shown)
            for shown in (
                "❤\ufe0f\u200d🔥 1\ufe0f\u20e3 #\ufe0f\u20e3 ©\ufe0f",  # emoji and keycaps
                "葛\U000e0100城 ᠠ\u180b",  # a form of a Han character, and of a Mongolian letter
            )
        ],
    ],
)
def test_controls_are_escaped_and_letters_are_kept(text, shown):
    assert escape_controls(text) == shown


IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""First and last code points of Unicode's property Default_Ignorable_Code_Point."""


def test_ignorable_characters_are_escaped():
    letters = [chr(code) for first, last in IGNORABLE for code in range(first, last + 1)]
    assert [one for one in letters if not escape_controls(f"a{one}b").isascii()] == []


def test_one_line_cannot_forge_another():
    assert one_line("title\r\n  1  forged\thit\rover") == "title   1  forged hit over"


@given(st.text() | st.text("a1字é\u200b\u200c\u200d\ufe0e\ufe0f\u20e3\U000e0100\n"))
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = one_line(text)
    kinds = {unicodedata.category(letter) for letter in shown} - {"Cf"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200f"
    )
    assert escape_controls(shown) == shown


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_ascii_is_kept(text):
    assert one_line(text) == text


def test_markup_links_and_emoji_names_are_text(capsys):
    print_line("[bold]x[/] [/] [link=http://e.org]y[/link] :smile: [red", (" [/b]", "bold"))
    assert (
        capsys.readouterr().out == "[bold]x[/] [/] [link=http://e.org]y[/link] :smile: [red [/b]\n"
    )


@pytest.mark.parametrize("colour", [{}, {"FORCE_COLOR": "1"}])
def test_every_way_to_print_escapes(capsys, monkeypatch, colour):
    for name, value in colour.items():
        monkeypatch.setenv(name, value)
    bad = "\x1b[2J\x9b[bold]\u202e"
    print_line(bad, (bad, "red"))
    table = Table(bad, title=bad, caption=bad)
    table.add_row(bad, style="red")
    table.add_column("styled")
    table.add_row("", styled((bad, "bold")))
    print_table(table)
    console.Console().print(bad)
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "\x1b" not in out and "\x9b" not in out and "\u202e" not in out
    assert out.count(r"\x1b[2J\x9b[bold]\u202e") == 8


def test_piped_output_is_never_cut_or_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_line("1  ", (LONG, "dim"), "  title")
    table = Table("key", "address", box=None)
    table.add_row("k" * 200, LONG)
    print_table(table)
    line, head, row = capsys.readouterr().out.splitlines()
    assert line == f"1  {LONG}  title"
    assert head.split() == ["key", "address"] and row.split() == ["k" * 200, LONG]


class Stream(io.TextIOWrapper):
    """Standard output with another encoding."""

    def __init__(self, encoding, terminal=False):
        super().__init__(io.BytesIO(), encoding=encoding)
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    @property
    def written(self):
        self.flush()
        return self.buffer.getvalue()


def test_a_terminal_folds_no_address(monkeypatch):
    stream = Stream("utf-8", terminal=True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    print_line(f"1  {LONG}")
    assert stream.written.decode() == f"1  {LONG}\n"


def test_a_narrow_terminal_gets_whole_words(monkeypatch):
    stream = Stream("utf-8", terminal=True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "dumb")
    table = Table("what it is", box=None)
    table.add_column("address", no_wrap=True)
    table.add_column("figure", no_wrap=True)
    table.add_row("several words that may be wrapped", LONG, "123,456,789.123")
    print_table(Group(table, "caption"))
    words = stream.written.decode().split()
    assert {LONG, "123,456,789.123", "wrapped", "caption"} <= set(words)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", rb"na\xefve \u6771 \U0001f600"), ("cp1252", b"na\xefve \\u6771 \\U0001f600"),
     ("latin-1", b"na\xefve \\u6771 \\U0001f600"), ("utf-8", "naïve 東 😀".encode())],
)  # fmt: skip
def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch, encoding, shown):
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    console.prepare_streams()
    print_line("naïve 東 😀")
    assert stream.written.rstrip(b"\n") == shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["naïve 東 😀 \u202e", "\x7f\x9b\x1b", "a\ud800"])
def test_json_is_json_in_every_encoding(monkeypatch, encoding, text):
    stream = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    console.prepare_streams()
    print_json({text: text})
    written = stream.written.decode(encoding)
    assert json.loads(written) == {text: text}
    assert written.count("\n") == 1 and not set(written) & set("\x1b\x7f\x9b\u202e")
    assert ("東" in written) == (encoding.startswith("utf") and "東" in text)


@given(st.text())
def test_json_keeps_every_text(text):
    assert json.loads(to_json([text])) == json.loads(to_json([text], letters=False)) == [text]


def test_commands_are_quoted():
    assert command("genir", "search", Path("my model"), "it's $HOME") == (
        "genir search 'my model' 'it'\"'\"'s $HOME'"
    )
    assert command("genir", "search", Path("-m"), "-k", "3") == "genir search ./-m -k 3"


NAMES = ["m\x1b[31m", "two\nlines\tand a tab", "it's \\n", "-\x07", "a\u202eb\x850",
         "a\ufe0f\U000e0041", os.fsdecode(b"caf\xe9 \x7f")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_a_printed_name_back(tmp_path, name):
    (tmp_path / name).write_text("found")
    line = command("cat", Path(name))
    assert one_line(line) == line
    script = ["bash", "-c", line]
    done = subprocess.run(
        script,
        cwd=tmp_path,
        env={"LC_ALL": "C.UTF-8", **os.environ},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"found"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# no heading", r"\# no heading"),
        ("a\n\n## b", r"a \#\# b"),
        ("[x](javascript:1) ![y](z)", r"\[x\](javascript:1) !\[y\](z)"),
        ("<img src=x> <!-- </b> 3 < 4", r"\<img src=x> \<!-- \</b> 3 < 4"),
        ("*b* _i_ a_b `default`", r"\*b\* \_i\_ a_b `default`"),
        ("```\x1b", "\\```\\\\x1b"),
    ],
)
def test_markdown_shows_text_as_it_is(text, written):
    assert escape_markdown(text) == written


def test_a_full_disk_behind_standard_output_is_one_message(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    for write in (lambda: print_line("x"), lambda: print_json({})):
        with pytest.raises(InputError, match=r"standard output cannot be written \(No space left"):
            write()


PRINTERS = {"console.py", "logs.py", "signals.py"}
"""logs.py prints the JSON of the server; signals.py drops output to a closed pipe."""


def test_only_the_console_prints():
    """A verb that opens another console, or writes to a stream, would not escape."""
    for path in Path(genir.__file__).parent.rglob("*.py"):
        names = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        found = names & {"typer.echo", "typer.secho", "sys.stdout", "sys.stderr", "rich.print"}
        if path.name not in PRINTERS:
            assert not found, f"{path}: print with genir.console"
            assert "from rich.console import Console" not in path.read_text(), path
