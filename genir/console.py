"""Terminal output: text for people with its control characters escaped, and JSON for programs.

All output of the command line goes through this module. Titles, keys, URLs and file names are
written by strangers: an escape sequence in one of them could clear the screen, write to the
clipboard or forge lines. Rich markup is never interpreted; styles are given beside the text.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from genir.errors import InputError
from genir.signals import broken_pipe

UNLIMITED = 100_000
"""Columns of an output that is not a terminal: nothing is wrapped or cut."""

_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # invisible letters and marks
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # bidirectional, line ends
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags, and what Unicode keeps free beside them
)
# Part of Persian, Indic and Mongolian scripts, Han and emoji, one at a time: behind ASCII, or in
# runs, they only hide. A selector behind a digit is part of a keycap.
_JOINERS = "\u200c\u200d"
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SHOWN = f"[^\x00-\x7f{_CONTROLS}{_JOINERS}{_SELECTORS}]"
_HIDING = (
    f"(?<!{_SHOWN})(?<!{_SHOWN}[{_SELECTORS}])[{_JOINERS}]",
    f"(?<!{_SHOWN})(?!(?<=[0-9#*])\ufe0f\u20e3)[{_SELECTORS}]",
)
BLANK = re.compile(rf"[\s{_CONTROLS}{_JOINERS}{_SELECTORS}]*")
"""White space, controls and characters that are never shown by themselves."""
UNSAFE = re.compile("|".join((f"[{_CONTROLS}]", *_HIDING)))
"""A character that is not shown as itself."""
_MARKDOWN = re.compile(r"[\\*\[\]~#&]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|^(?=```)")
_BREAKS = re.compile(r"[\t\r\n]+")


def escape_controls(text: str) -> str:
    r"""Return text with control, bidirectional and invisible characters as escapes such as `\x1b`.

    Newlines and tabs stay.
    """
    return UNSAFE.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """Return text as one line for the terminal: line breaks are spaces, controls are escaped."""
    return escape_controls(_BREAKS.sub(" ", text))


def escape_markdown(text: str) -> str:
    """Return text as one line that Markdown shows as it is, except for code between backticks.

    Links, images, emphasis and HTML that the text would open are escaped.
    """
    return _MARKDOWN.sub(lambda found: "\\" + found[0], one_line(text).strip())


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else ascii(letter)[1:-1]


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return one line of several parts, each a text or a text with its rich style."""
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((one_line(text), style) for text, style in pairs))


def command(*arguments: object) -> str:
    """Return a shell command line, its arguments quoted where they need it; a `Path` is no option.

    Names with characters that are not shown are written as `$'...'`, which bash, zsh and ksh read.
    """
    return " ".join(map(_quoted, arguments))


def _quoted(argument: object) -> str:
    text = str(argument)
    if isinstance(argument, Path) and text.startswith("-"):
        text = f"./{text}"
    if not UNSAFE.search(text) and "\n" not in text and "\t" not in text:
        return shlex.quote(text)
    letters = (
        text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    )
    return f"$'{UNSAFE.sub(_ansi_c, letters)}'"


def _ansi_c(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class Console(RichConsole):
    """A rich console that escapes controls, reads no markup and wraps only on a terminal.

    A string is printed as one line. Where the output is a terminal, the terminal wraps long lines,
    so that addresses can be clicked.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        terminal = stream is not None and stream.isatty()
        width, height = (None, None) if terminal else (UNLIMITED, 25)
        super().__init__(
            stderr=stderr, quiet=quiet, width=width, height=height, soft_wrap=True,
            markup=False, highlight=False, emoji=False,
        )  # fmt: skip

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as rich text, as one line."""
        return super().render_str(one_line(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of a renderable; only rich's own control codes stay."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(escape_controls(text), style)

    def on_broken_pipe(self) -> None:
        """Leave without a word: the reader has gone."""
        leave_broken_pipe()


def print_line(*parts: str | tuple[str, str], stderr: bool = False) -> None:
    """Print one line for people; a part is a text, or a text with its rich style."""
    with _writing():
        Console(stderr=stderr).print(styled(*parts))


def print_table(table: RenderableType) -> None:
    """Print tables, laid out for the terminal's width; no word is cut."""
    console = Console()
    unlimited = console.options.update_width(UNLIMITED)
    least = Measurement.get(console, unlimited, table).minimum
    console.size = ConsoleDimensions(max(console.width, least), console.height)
    with _writing():
        console.print(table, soft_wrap=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON, in ASCII where the output's encoding is not Unicode."""
    stream = sys.stdout
    if stream is not None:
        with _writing():
            stream.write(to_json(value, _is_unicode(stream.encoding)) + "\n")
            stream.flush()


def to_json(value: object, letters: bool = True, **options: Any) -> str:
    r"""Return JSON whose strings hold controls as `\u` escapes; letters: write beyond ASCII."""
    text = json.dumps(value, ensure_ascii=not letters, **options)
    return UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)


def _is_unicode(encoding: str | None) -> bool:
    return (encoding or "").lower().replace("_", "-").startswith("utf")


def prepare_streams() -> None:
    """Let standard output and error escape the characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        leave_broken_pipe()
    except OSError as error:
        raise InputError(f"standard output cannot be written ({error.strerror})") from None


def leave_broken_pipe() -> None:
    """Exit with 141, 128 + SIGPIPE, as shells report it; what is still buffered is dropped."""
    raise SystemExit(broken_pipe())
