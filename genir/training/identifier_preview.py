"""`genir identifiers`: identifiers that a scheme assigns to a corpus, without training.

Training fits codes to the mean of a document's vector and the vectors of its train queries.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from genir.atomic_dirs import temporary_folder
from genir.config import IdentifierSection, ModelSection, validate
from genir.console import print_table
from genir.corpus.page_folder import files_read
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.identifiers.registry import build_scheme
from genir.identifiers.report import plot, render, report
from genir.identifiers.table import IdentifierTable
from genir.models.registry import build_model
from genir.outputs import check_distinct, write_all, write_text
from genir.overrides import apply_settings


def preview_identifiers(
    corpus: Path,
    scheme: str,
    settings: Sequence[str],
    encoder: str,
    outputs: tuple[Path | None, Path | None],
    base_url: str = "",
) -> None:
    """Fit a scheme and print its report.

    Args:
        settings: Scheme options, for example `levels=8`.
        outputs: Paths of an optional PNG and JSON file.
        base_url: URL prefix for a folder of pages.

    Raises:
        InputError: an option is unknown.
    """
    check_distinct({"--plot": outputs[0], "--json": outputs[1]}, files_read(corpus))
    with temporary_folder() as folder:
        documents = DocumentStore.create(folder / "documents.sqlite", read_corpus(corpus, base_url))
        section = ModelSection(kind="encoder-head", encoder=encoder, word_set_size=0)  # type: ignore[call-arg]
        model = build_model(section, documents)
        fitted = build_scheme(_section(scheme, settings), model.tokenizer)
        vectors = model.document_vectors(documents, {}) if fitted.needs_vectors else None
        fitted.fit(documents, vectors)
        table = IdentifierTable.build(fitted.encode(documents, vectors), documents.keys())
        found = report(table, fitted)
    try:
        print_table(render(found))
    finally:  # also when stdout is a closed pipe
        picture, json_file = outputs
        writers: dict[Path, Callable[[], object]] = {}
        if picture is not None:
            writers[picture] = lambda: plot(found, picture)
        if json_file is not None:
            text = json.dumps(found.to_dict(), indent=2) + "\n"
            writers[json_file] = lambda: write_text(json_file, text)
        write_all(writers)


def _section(scheme: str, settings: Sequence[str]) -> IdentifierSection:
    values: dict[str, object] = {"scheme": scheme}
    keys = [setting.removeprefix("identifiers.") for setting in settings]
    apply_settings(values, keys, IdentifierSection)
    return validate(IdentifierSection, values, "[identifiers]")
