"""Root of the command line: checks of arguments and help texts that apply to all verbs."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from genir.arguments import as_path
from genir.console import print_line
from genir.errors import InputError

Command = TyperGroup | TyperCommand
NUMBERS = {
    int: (re.compile(r"[+-]?[0-9]{1,18}"), "a whole number"),
    float: (re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"), "a number"),
}
"""Accepted syntax of numbers on the command line, and its description in messages."""
DASHED = re.compile(r"-[^-]\s")
"""A query that typer would parse as an option with a value: `-k means`."""


class Root(TyperGroup):
    """Group of all verbs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in commands_below(self):
            command.short_help = (command.help or "").partition("\n\n")[0]  # not cut to a line
            for parameter in command.params:
                _check_numbers(parameter)
                _check_paths(parameter)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the verb named by the arguments. Raises InputError for bad arguments."""
        run_command(super().main, args, prog_name)


def _check_numbers(parameter: Any) -> None:
    """Restrict a numeric parameter to plain digits; the error quotes the value.

    Python's parsers also accept `1_000`, white space, digits of any script, `nan` and `inf`.
    """
    annotation = parameter.type_descriptor.annotation
    kinds = {annotation, *get_args(annotation)}
    pattern, wanted = NUMBERS[int] if int in kinds else NUMBERS[float]
    if not kinds & {int, float}:
        return
    process = parameter.process_value

    def checked(context: Any, value: Any) -> Any:
        if isinstance(value, str) and not pattern.fullmatch(value):
            digits = value.isascii() and value.lstrip("+-").isdecimal()
            most = " of at most 18 digits" if digits else ""
            raise typer.BadParameter(f"{value!r:.60}, give {wanted}{most}", context, parameter)
        return process(context, value)

    parameter.process_value = checked


def _check_paths(parameter: Any) -> None:
    """Pass the paths of a parameter through `as_path`."""
    annotation = parameter.type_descriptor.annotation
    if Path not in {annotation, *get_args(annotation)}:
        return
    process, name = parameter.process_value, parameter.opts[0]

    def checked(context: Any, value: Any) -> Any:
        return process(context, as_path(value, name) if isinstance(value, str) else value)

    parameter.process_value = checked


def commands_below(group: TyperGroup) -> Iterator[Command]:
    """Yield a group and all groups and verbs below it."""
    yield group
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            yield from commands_below(command)
        elif isinstance(command, TyperCommand):
            yield command


def run_command(
    main: Callable[..., Any], args: Sequence[str] | None = None, prog: str | None = None
) -> None:
    """Run a command's `main` and exit with its code. Raises InputError for bad arguments."""
    given = sys.argv[1:] if args is None else list(args)
    for number, argument in enumerate(given, start=1):
        _refuse_other_encodings(number, argument)
    try:
        code = main(given, prog, standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        context = getattr(error, "ctx", None)
        if context is not None and message == context.get_help():  # no verb was named
            for line in message.splitlines():
                print_line(line)
            sys.exit(2)
        hint = f"; see {context.command_path} --help" if context is not None else ""
        unknown = re.match("-[^-]", getattr(error, "option_name", ""))
        if unknown or any(DASHED.match(argument) for argument in given):
            hint += "; put -- before a key or query that begins with a dash"
        raise InputError(f"{message.rstrip('.')}{hint}") from None
    except typer.Abort as error:
        if error.__cause__ is not None:  # an EOFError of a library, not of a prompt: a bug
            raise error.__cause__ from None
        sys.exit(1)
    sys.exit(code or 0)


def _refuse_other_encodings(number: int, argument: str) -> None:
    try:
        argument.encode()
        return
    except UnicodeEncodeError as error:
        place = error.start
    try:
        raw = os.fsencode(argument)
        raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"argument {number}, {raw!r}: not UTF-8 (byte 0x{raw[error.start]:02x} at position "
            f"{error.start}); convert it to UTF-8, or rename the file"
        ) from None
    except UnicodeEncodeError:
        raise InputError(
            f"argument {number}, {argument!a}: character {place} is half a surrogate pair and "
            "cannot be written as UTF-8; give whole characters"
        ) from None
    raise InputError(
        f"argument {number}, {raw.decode()!r}: UTF-8, but the locale's encoding is "
        f"{sys.getfilesystemencoding()}; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    )
