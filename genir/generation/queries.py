"""Queries for every document, into a file that appears when it is whole.

`FILE.part` grows by a line a document; a later run goes on behind its last whole batch, and ends in
the same bytes: each batch is drawn by a seed of its own. Knows no model but by its `write`.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol, get_args

from genir.arguments import is_blank
from genir.config import Precision, PseudoSection
from genir.corpus.tokens import first_words, join_words, words
from genir.errors import InputError
from genir.folders import flush_entry, sole_use
from genir.progress import tracked
from genir.records import Document
from genir.tasks.writing import reading

DIGITS = 16
"""Hexadecimal digits of the digest of documents."""


class Writes(Protocol):
    """What continues prompts: see `Writer.write`. precision: of its products."""

    precision: str

    def write(self, prompts: Sequence[str], options: PseudoSection, seed: int) -> list[str]:
        """Return a continuation of each prompt."""
        ...


def part_of(out: Path) -> Path:
    """Return where the queries of a file to come are collected."""
    return out.with_name(f"{out.name}.part")


def write_queries(
    corpus: Sequence[Document],
    writer: Writes,
    options: PseudoSection,
    out: Path,
    weights: str = "",
) -> Iterator[int]:
    """Write queries for every document to `out`; yield after each batch, when it may be left.

    One JSON object a line: {"document": key, "text": query}, document by document in corpus order,
    no query of a document twice. weights: identifies the writer's. Raises InputError for a part
    file of other settings, documents or weights, and for a disk that takes no more.
    """
    part = part_of(out)
    try:
        with sole_use(part, str(part)):
            facts = {f"setting {name}": value for name, value in options.model_dump().items()}
            facts |= {
                "documents": _digest(corpus),
                "weights": weights,
                "precision": writer.precision,
            }
            done = _begin(part, options, corpus, json.loads(json.dumps(facts)))
            with part.open("a", encoding="utf-8", newline="\n") as file:
                for start in tracked(
                    range(done, len(corpus), options.batch_size), "writing queries"
                ):
                    batch = corpus[start : start + options.batch_size]
                    made = _ask(batch, writer, options, start)
                    lines = (
                        json.dumps({"document": d.key, "texts": texts}, ensure_ascii=False) + "\n"
                        for d, texts in zip(batch, made, strict=True)
                    )
                    file.write("".join(lines))
                    file.flush()
                    os.fsync(file.fileno())
                    yield start + len(batch)
            _finish(part, out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); make room or name another file"
        ) from None


def begun_precision(out: Path) -> Precision:
    """Return the precision that a part file was begun with; `auto` where there is none.

    A run that goes on in another one would draw other queries than a run that was not interrupted.
    """
    try:
        with part_of(out).open(encoding="utf-8") as lines:
            taken = json.loads(next(lines))["precision"]
    except (OSError, ValueError, StopIteration, LookupError, TypeError):
        return "auto"  # `write_queries` says what is wrong with it
    return taken if taken in get_args(Precision) else "auto"


def _begin(
    part: Path, options: PseudoSection, corpus: Sequence[Document], facts: Mapping[str, Any]
) -> int:
    """Return how many documents are done, in whole batches; cut off what is beyond them.

    Raises InputError for a file of other inputs, and for one that is damaged.
    """
    size = len(corpus)
    head = json.dumps(facts).encode() + b"\n"
    lines = part.read_bytes().splitlines(keepends=True) if part.exists() else []
    if not lines or not lines[0].endswith(b"\n"):
        part.write_bytes(head)
        return 0
    if lines[0] != head:
        known = _record(part, 1, lines[0])
        name = next((one for one in facts if known.get(one, "absent") != facts[one]), "layout")
        if name == "layout":
            raise _damaged(part, 1)
        raise InputError(
            f"{part}: was made from other inputs than these ({name}: {known.get(name, 'absent')} "
            f"then, {facts[name]} now); restore what has changed to go on with --resume, or start "
            "over with --overwrite"
        )
    # Bytes: a kill may have cut within a letter, and keys may hold what ends a line of text.
    whole = [line for line in lines[1:] if line.endswith(b"\n")]
    done = len(whole) if len(whole) == size else len(whole) - len(whole) % options.batch_size
    for number, (line, document) in enumerate(zip(whole[:done], corpus, strict=False), start=2):
        record = _record(part, number, line)
        if record.get("document") != document.key or not _is_texts(record.get("texts")):
            raise _damaged(part, number)
    if len(whole) > size:
        raise _damaged(part, size + 2)
    os.truncate(part, sum(map(len, lines[: 1 + done])))
    return done


def _record(part: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the object of a line. Raises InputError where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _damaged(part, number)
    return record


def _is_texts(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(text, str) for text in given)


def _damaged(part: Path, number: int) -> InputError:
    return InputError(f"{part}:{number}: damaged; start over with --overwrite")


def _digest(corpus: Sequence[Document]) -> str:
    """Return a digest of all that is read of a corpus."""
    digest = hashlib.sha256()
    for document in corpus:
        digest.update(json.dumps([document.key, document.title, document.text]).encode())
    return f"{len(corpus):,} documents, sha256 {digest.hexdigest()[:DIGITS]}"


def _ask(
    batch: Sequence[Document], writer: Writes, options: PseudoSection, start: int
) -> list[list[str]]:
    """Return the queries of each document: those that are not empty, each once."""
    rng = Random(f"pseudo {options.seed} {start}")
    owners = [n for n, document in enumerate(batch) if reading(document, options.words)]
    owners = [n for n in owners for _ in range(options.count)]
    prompts = [prompt(batch[n], options, rng) for n in owners]
    texts = writer.write(prompts, options, rng.getrandbits(63)) if prompts else []
    made: list[dict[str, None]] = [{} for _ in batch]
    for owner, text in zip(owners, texts, strict=True):
        if not is_blank(text):
            made[owner][text] = None
    return [list(own) for own in made]


def prompt(document: Document, options: PseudoSection, rng: Random) -> str:
    """Return what is read for one query; other words are left out of it each time."""
    if not options.prompt:
        return _drop(reading(document, options.words), options.drop, rng)
    text = first_words(document.text, options.words)
    title = " ".join(document.title.split())
    return options.prompt.format(title=title, text=_drop(text, options.drop, rng))


def _drop(text: str, share: float, rng: Random) -> str:
    """Leave out each word with a chance of `share`, but never all of them."""
    found = words(text)
    kept = [word for word in found if rng.random() >= share] if share else found
    return join_words(kept or found)


def _finish(part: Path, out: Path) -> None:
    """Spread the documents' lines into one a query, and move the file to its place."""
    whole = out.with_name(f".{out.name}.whole")
    with part.open(encoding="utf-8") as lines, whole.open("w", encoding="utf-8") as file:
        next(lines)
        for line in lines:
            record = json.loads(line)
            for text in record["texts"]:
                query = {"document": record["document"], "text": text}
                file.write(json.dumps(query, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    whole.replace(out)
    flush_entry(out.parent)
    part.unlink()
