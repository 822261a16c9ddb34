"""Writing of generated queries for a corpus to a file, resumable after a kill.

`FILE.part` grows by one line per document and is renamed when complete. Each batch has its own
seed, so a resumed run gives the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, get_args

from genir.arguments import is_blank
from genir.atomic_dirs import exclusive_lock, fsync_parent
from genir.config import Precision, PseudoQueriesSection
from genir.corpus.tokens import first_words, join_words, words
from genir.errors import InputError
from genir.generation.generator import QueryGenerator
from genir.models.digests import short_digests
from genir.plurals import counted
from genir.progress import tracked
from genir.tasks.tome_and_querygen import generator_input
from genir.types import Document

DIGEST_DIGITS = 16
"""Hexadecimal digits of the documents' digest."""


def part_of(out: Path) -> Path:
    """Return the path of the unfinished file."""
    return out.with_name(f"{out.name}.part")


def generate_queries_file(
    corpus: Sequence[Document],
    generator: QueryGenerator,
    options: PseudoQueriesSection,
    out: Path,
    weights: str = "",
) -> Iterator[int]:
    """Write queries for every document to `out`, and yield after each batch.

    Each line is one JSON object {"document": key, "text": query}, in corpus order, without
    duplicate queries of a document.

    Args:
        weights: Identity of the model's weights.

    Raises:
        InputError: the part file has other settings, documents or weights, or the disk fails.
    """
    part = part_of(out)
    try:
        with exclusive_lock(part, str(part)):
            facts = {f"setting {name}": value for name, value in options.model_dump().items()}
            facts |= {
                "documents": _digest(corpus),
                "weights": weights,
                "precision": generator.precision,
            }
            done = _begin(part, options, corpus, json.loads(json.dumps(facts)))
            with part.open("a", encoding="utf-8", newline="\n") as file:
                for start in tracked(
                    range(done, len(corpus), options.batch_size), "writing queries"
                ):
                    batch = corpus[start : start + options.batch_size]
                    made = _generate_batch(batch, generator, options, start)
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
            f"{out}: cannot be written ({error.strerror}); free space or name another file"
        ) from None


def begun_precision(out: Path) -> Precision:
    """Return the precision that a part file was started with; `auto` if there is none.

    A run resumed in another precision would sample other queries.
    """
    try:
        with part_of(out).open(encoding="utf-8") as lines:
            taken = json.loads(next(lines))["precision"]
    except (OSError, ValueError, StopIteration, LookupError, TypeError):
        return "auto"  # `generate_queries_file` reports the problem
    return taken if taken in get_args(Precision) else "auto"


def _begin(
    part: Path, options: PseudoQueriesSection, corpus: Sequence[Document], facts: Mapping[str, Any]
) -> int:
    """Return the number of documents in complete batches, and truncate the file after them.

    Raises InputError if the file has other inputs or is damaged.
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
        then, now = (short_digests(str(one)) for one in (known.get(name, "absent"), facts[name]))
        raise InputError(
            f"{part}: was made from other inputs ({name}: {then} then, {now} now); restore them to "
            "continue with --resume, or start again with --overwrite"
        )
    # In bytes: a kill may cut a character, and keys may contain line separators.
    whole = [line for line in lines[1:] if line.endswith(b"\n")]
    done = len(whole) if len(whole) == size else len(whole) - len(whole) % options.batch_size
    for number, (line, document) in enumerate(zip(whole[:done], corpus, strict=False), start=2):
        record = _record(part, number, line)
        texts = record.get("texts")
        whole_texts = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if record.get("document") != document.key or not whole_texts:
            raise _damaged(part, number)
    if len(whole) > size:
        raise _damaged(part, size + 2)
    os.truncate(part, sum(map(len, lines[: 1 + done])))
    return done


def _record(part: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the object of a line. Raises InputError if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _damaged(part, number)
    return record


def _damaged(part: Path, number: int) -> InputError:
    return InputError(f"{part}:{number}: damaged; start again with --overwrite")


def _digest(corpus: Sequence[Document]) -> str:
    """Return a digest of all document fields that are read."""
    digest = hashlib.sha256()
    for document in corpus:
        digest.update(json.dumps([document.key, document.title, document.text]).encode())
    return f"{counted(len(corpus), 'document')}, sha256 {digest.hexdigest()[:DIGEST_DIGITS]}"


def _generate_batch(
    batch: Sequence[Document], writer: QueryGenerator, options: PseudoQueriesSection, start: int
) -> list[list[str]]:
    """Return the distinct non-empty queries of each document."""
    rng = Random(f"pseudo {options.seed} {start}")
    owners = [n for n, document in enumerate(batch) if generator_input(document, options.words)]
    owners = [n for n in owners for _ in range(options.count)]
    prompts = [prompt(batch[n], options, rng) for n in owners]
    texts = writer.generate(prompts, options, rng.getrandbits(63)) if prompts else []
    made: list[dict[str, None]] = [{} for _ in batch]
    for owner, text in zip(owners, texts, strict=True):
        if not is_blank(text):
            made[owner][text] = None
    return [list(own) for own in made]


def prompt(document: Document, options: PseudoQueriesSection, rng: Random) -> str:
    """Return the prompt for one query; the dropped words differ each time."""
    if not options.prompt:
        return _drop(generator_input(document, options.words), options.drop, rng)
    text = first_words(document.text, options.words)
    title = " ".join(document.title.split())
    return options.prompt.format(title=title, text=_drop(text, options.drop, rng))


def _drop(text: str, share: float, rng: Random) -> str:
    found = words(text)
    kept = [word for word in found if rng.random() >= share] if share else found
    return join_words(kept or found)


def _finish(part: Path, out: Path) -> None:
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
    fsync_parent(out.parent)
    part.unlink()
