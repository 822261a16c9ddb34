"""`genir generate-queries`: writes generated queries for every document of a corpus to a file."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genir.arguments import as_path
from genir.atomic_dirs import temporary_folder
from genir.config import PseudoQueriesSection, is_recipe, validate
from genir.console import print_line
from genir.corpus.page_folder import files_read
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.generation.queries import part_of
from genir.manifest import refuse_other_files
from genir.outputs import check_distinct, check_folder, check_output, require_outside
from genir.overrides import apply_settings
from genir.plurals import counted
from genir.training.checkpoints import WorkFolder
from genir.training.job import TrainingJob
from genir.training.pipeline import train
from genir.training.prerequisites import generator_job
from genir.training.pseudo_queries import is_file, make_queries


@dataclass(frozen=True)
class GenerationRequest:
    """Arguments of `genir generate-queries`.

    Attributes:
        settings: Overrides of `[pseudo_queries]` keys.
        resume: Continue an interrupted run; with `overwrite`, one that replaces a complete file.
    """

    corpus: Path
    out: Path
    model: str
    queries: Path | None = None
    qrels: Path | None = None
    settings: Sequence[str] = ()
    resume: bool = False
    overwrite: bool = False


def generate_queries(request: GenerationRequest) -> None:
    """Write the file of queries; a recipe's generator is trained first.

    Raises:
        InputError: the corpus, the generator or an option is invalid.
        Stopped: on Ctrl-C; `resume` continues.
    """
    out, generator = request.out, request.out.with_name(f"{request.out.name}.generator")
    values: dict[str, object] = {}
    apply_settings(values, request.settings, PseudoQueriesSection)
    options = validate(
        PseudoQueriesSection, {**values, "source": request.model}, "[pseudo_queries]"
    )
    if is_file(request.model):
        raise InputError(f"--model {request.model}: is a file of queries; name a model or a recipe")
    trains = is_recipe(request.model)
    work = WorkFolder(generator)
    _refuse_inputs(request, generator if trains else None)
    begun = part_of(out).exists() or (trains and (generator.exists() or work.path.exists()))
    if request.overwrite and not request.resume:
        _remove_finished(out, generator if trains else None)
    elif out.exists() and not request.overwrite:
        raise InputError(
            f"{out}: exists already; choose another --out, or replace it with --overwrite"
        )
    elif begun and not request.resume:
        raise InputError(f"{out}: is incomplete; --resume continues it, --overwrite starts again")
    source = request.model
    if trains:
        job = TrainingJob(source, request.corpus, out, request.queries, request.qrels)
        train(generator_job(job, options, generator, ()))
        source = str(generator)
    with temporary_folder() as folder:
        path = folder / "documents.sqlite"
        documents = DocumentStore.create(path, read_corpus(request.corpus))
        make_queries(source, documents, options, out)
        documents.close()
    if trains:
        shutil.rmtree(generator)
    with out.open(encoding="utf-8") as lines:
        print_line(f"{out}: {counted(sum(1 for _ in lines), 'query', 'queries')}", stderr=True)


def _refuse_inputs(request: GenerationRequest, generator: Path | None) -> None:
    """Raise InputError if an output is also an input or cannot be written."""
    inputs = {"--queries": request.queries, "--qrels": request.qrels}
    inputs |= {"--model": as_path(request.model, "--model"), **files_read(request.corpus)}
    outputs = {"--out": request.out, "the unfinished --out": part_of(request.out)}
    if generator is not None:
        refuse_other_files(generator)
        for folder in (generator, WorkFolder(generator).path):
            check_folder(folder)
            require_outside("the generator's folder", folder, inputs)
    check_distinct(outputs, inputs)
    for path in outputs.values():
        check_output(path)


def _remove_finished(out: Path, generator: Path | None) -> None:
    """Remove partial results of an earlier run; a complete file is kept until replaced."""
    part_of(out).unlink(missing_ok=True)
    if generator is not None:
        WorkFolder(generator).remove()
        if generator.is_dir():
            shutil.rmtree(generator)
