"""Split a qrels file into two halves by query, alternately in order of first appearance.

Usage: python -m benchmarks.scripts_from_docs.split_qrels QRELS EVEN ODD
"""

import sys
from pathlib import Path


def main(qrels: Path, even: Path, odd: Path) -> None:
    """Write the header and the lines of every other query to each of the two files."""
    header, *lines = qrels.read_text(encoding="utf-8").splitlines(keepends=True)
    places: dict[str, int] = {}
    halves = [[header], [header]]
    for line in lines:
        place = places.setdefault(line.split()[0], len(places))
        halves[place % 2].append(line)
    for path, half in zip((even, odd), halves, strict=True):
        path.write_text("".join(half), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
