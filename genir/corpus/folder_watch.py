"""Notification of changes of a file or folder, grouped in time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from watchfiles import DefaultFilter, watch

QUIET_MS = 500
"""Milliseconds without a change that end a group: an editor or `git checkout` makes several."""
MAX_GROUP_MS = 5_000
"""Maximum milliseconds of a group of changes."""


def watch_changes(
    path: Path, ignored: Sequence[Path] = (), quiet_ms: int = QUIET_MS
) -> Iterator[None]:
    """Yield once when the watch has started, then after each group of changes, forever.

    Changes during the work of the caller are reported after it.

    Args:
        path: A file, or a folder with everything below it.
        ignored: Files and folders whose changes are not reported, besides those of version control
            and editors.
        quiet_ms: Milliseconds without a change that end a group.
    """
    own = DefaultFilter(ignore_paths=[one.resolve() for one in ignored])
    groups = watch(
        path.resolve(),
        watch_filter=own,
        debounce=MAX_GROUP_MS,
        step=quiet_ms,
        rust_timeout=quiet_ms,
        yield_on_timeout=True,  # the first time, it tells that the watch has started
    )
    started = False
    for changes in groups:
        if changes or not started:
            started = True
            yield
