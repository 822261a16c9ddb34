"""`genir identifiers`: what a scheme makes of the documents of a corpus, before any training.

Training fits codes on the mean of a document's vector and those of its train queries.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from genir.config import IdentifierSection, ModelSection, validate
from genir.console import print_table
from genir.corpus.folder import read_corpus
from genir.corpus.store import DocumentStore
from genir.identifiers.registry import build_scheme
from genir.identifiers.report import plot, render, report
from genir.identifiers.table import IdentifierTable
from genir.models.registry import build_model
from genir.settings import apply_settings


def preview_identifiers(
    corpus: Path,
    scheme: str,
    settings: Sequence[str],
    encoder: str,
    outputs: tuple[Path | None, Path | None],
) -> None:
    """Fit a scheme and print its report; outputs: a PNG and a JSON file, where wanted.

    settings: the scheme's own keys, such as `levels=8`. Raises InputError for an unknown one.
    """
    with tempfile.TemporaryDirectory() as folder:
        documents = DocumentStore.create(Path(folder) / "documents.sqlite", read_corpus(corpus))
        section = ModelSection(kind="bridge", encoder=encoder, lexical=0)  # type: ignore[call-arg]
        model = build_model(section, documents)
        fitted = build_scheme(_section(scheme, settings), model.tokenizer)
        vectors = model.document_vectors(documents, {}) if fitted.needs_vectors else None
        fitted.fit(documents, vectors)
        table = IdentifierTable.build(fitted.encode(documents, vectors), documents.keys())
        found = report(table, fitted)
    print_table(render(found))
    picture, json_file = outputs
    if picture is not None:
        plot(found, picture)
    if json_file is not None:
        json_file.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")


def _section(scheme: str, settings: Sequence[str]) -> IdentifierSection:
    values: dict[str, object] = {"scheme": scheme}
    keys = [setting.removeprefix("identifiers.") for setting in settings]
    apply_settings(values, keys, IdentifierSection)
    return validate(IdentifierSection, values, "[identifiers]")
