"""Run the command line in this process."""

from genir.cli import app, guarded


def run(*arguments):
    """Run `genir` and return its exit code; any exception other than an exit is raised."""
    try:
        guarded(lambda: app([str(argument) for argument in arguments]))
    except SystemExit as end:
        return end.code
    return 0
