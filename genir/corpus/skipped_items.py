"""Warnings about input that a reader skips or alters: counted by reason, then logged."""

import logging
from dataclasses import dataclass, field

from genir.console import escape_controls

log = logging.getLogger("genir.corpus")


@dataclass
class SkippedItems:
    """Counts by reason, each with its first example. `source` is the prefix of each log line."""

    source: str
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, example: str = "") -> None:
        """Count one more case of a reason, for example "hidden files are not read"."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, example)

    def report(self) -> None:
        """Log one warning for each reason; without handlers, Python prints it to stderr."""
        for reason, count in self.counts.items():
            opening = "" if count == 1 else "such as "
            example = f": {count:,} ({opening}{self.examples[reason]!r})"
            line = f"{self.source}: {reason}{example if self.examples[reason] else ''}"
            # File names may contain control and invisible characters.
            shown = (c if c.isprintable() else ascii(c)[1:-1] for c in escape_controls(line))
            log.warning("%s", "".join(shown))
        self.counts.clear()
