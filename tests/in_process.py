"""The command line in this process."""

from genir.cli import app, guarded


def run(*arguments):
    """Run `genir` and return its exit code; anything but an exit is a bug and raises."""
    try:
        guarded(lambda: app([str(argument) for argument in arguments]))
    except SystemExit as end:
        return end.code
    return 0
