"""Making the embedded corpus folder: Python's documentation and queries cut out of it."""

import platform
from collections.abc import Sequence
from pathlib import Path

from genir.corpus.held_out import HeldOut, held_out
from genir.corpus.python_docs import Modules, documents_of, import_modules
from genir.corpus.writing import check_free, write_corpus

TEST_SHARE = 0.4
SEED = 0
CARD = """# Python documentation

{documents:,} docstrings of the standard library of Python {version}{packages}: modules, classes,
functions and methods. Key: the qualified name. URL: its place in the library reference.
Licence: that of the running Python (PSF) and of the packages.

## Where the queries come from

**From the documentation itself.** Each query is a whole sentence cut out of the docstring that it
is judged to find; it stands in no document any more. So the queries are in the words of the
documents' authors, not of people who search: compare systems on them, and expect other figures
from real users. A sentence of a docstring may fit others too; only its own counts.

- `train`: {train:,} queries. `test`: {test:,} queries, of other documents than `train`.
- Made by `genir corpus python-docs` (seed {seed}).

## Modules that did not import here

{skipped}
"""


def make_python_docs(
    out: Path, packages: Sequence[str] = (), overwrite: bool = False
) -> tuple[HeldOut, Modules]:
    """Write the embedded corpus with queries and a card; return it and what was imported.

    Raises InputError for an existing folder and for a package that does not import.
    """
    check_free(out, overwrite)
    modules = import_modules(packages)
    made = held_out(documents_of(modules), TEST_SHARE, SEED)
    card = _card(made, modules, packages)
    write_corpus(out, made.documents, made.queries, made.qrels, card, overwrite)
    return made, modules


def _card(made: HeldOut, modules: Modules, packages: Sequence[str]) -> str:
    skipped = [f"- `{name}`: {reason}" for name, reason in modules.skipped.items()]
    return CARD.format(
        documents=len(made.documents),
        version=platform.python_version(),
        packages=f" and of {', '.join(packages)}" if packages else "",
        train=len(made.qrels["train"]),
        test=len(made.qrels["test"]),
        seed=SEED,
        skipped="\n".join(skipped) or "None.",
    )
