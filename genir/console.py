"""Terminal output with control characters escaped, and JSON output.

All output of the command line goes through this module. Titles, keys, URLs and file names are
untrusted: an escape sequence could clear the screen, write to the clipboard or forge lines. Rich
markup is never interpreted; styles are separate arguments.
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
"""Columns if the output is not a terminal: no wrapping or truncation."""

_CONTROLS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # invisible letters and marks
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # bidirectional, line ends
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags and adjacent unassigned code points
)
# Joiners and selectors belong to Persian, Indic and Mongolian scripts, Han and emoji, one at a
# time; after ASCII or repeated they only hide text. After a digit, one may be part of a keycap.
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
"""Matches a character that a terminal does not display as itself."""
_MARKDOWN = re.compile(r"[\\*\[\]~#&]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|^(?=```)")
_BREAKS = re.compile(r"[\t\r\n]+")


def escape_controls(text: str) -> str:
    r"""Return text with control, bidirectional and invisible characters as escapes, e.g. `\x1b`.

    Newlines and tabs are kept.
    """
    return UNSAFE.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """Return text as one line: line breaks become spaces, controls are escaped."""
    return escape_controls(_BREAKS.sub(" ", text))


def escape_markdown(text: str) -> str:
    """Return text as one line that Markdown renders literally, except for code in backticks.

    Links, images, emphasis and HTML are escaped.
    """
    return _MARKDOWN.sub(lambda found: "\\" + found[0], one_line(text).strip())


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else ascii(letter)[1:-1]


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return one line of rich text from texts and (text, style) pairs."""
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((one_line(text), style) for text, style in pairs))


def command(*arguments: object) -> str:
    """Return a shell command line with quoted arguments; a `Path` cannot be read as an option.

    Arguments with invisible characters are written as `$'...'`, which bash, zsh and ksh support.
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
    """Rich console that escapes controls, ignores markup and wraps tables on a terminal only.

    A string is printed as one line; the terminal wraps it, so URLs stay clickable.
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
        """Return a string as one line of rich text."""
        return super().render_str(one_line(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of a renderable, with controls escaped except rich's own."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(escape_controls(text), style)

    def on_broken_pipe(self) -> None:
        """Exit silently after the reader closed the pipe."""
        leave_broken_pipe()


def print_line(*parts: str | tuple[str, str], stderr: bool = False) -> None:
    """Print one line from texts and (text, style) pairs."""
    with _writing():
        Console(stderr=stderr).print(styled(*parts))


def print_table(table: RenderableType) -> None:
    """Print a table at the terminal's width, without truncating words."""
    console = Console()
    unlimited = console.options.update_width(UNLIMITED)
    least = Measurement.get(console, unlimited, table).minimum
    console.size = ConsoleDimensions(max(console.width, least), console.height)
    with _writing():
        console.print(table, soft_wrap=False)


def print_json(value: object) -> None:
    """Print a value as one line of JSON; in ASCII if the output's encoding is not Unicode."""
    stream = sys.stdout
    if stream is not None:
        with _writing():
            encoding = (stream.encoding or "").lower().replace("_", "-")
            stream.write(to_json(value, encoding.startswith("utf")) + "\n")
            stream.flush()


def to_json(value: object, letters: bool = True, **options: Any) -> str:
    r"""Return JSON with controls in strings as `\u` escapes. letters: keep non-ASCII letters."""
    text = json.dumps(value, ensure_ascii=not letters, **options)
    return UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f"), text)


def prepare_streams() -> None:
    """Make standard output and error escape characters that their encoding lacks."""
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
    """Exit with 141 (128 + SIGPIPE) and drop buffered output."""
    raise SystemExit(broken_pipe())
