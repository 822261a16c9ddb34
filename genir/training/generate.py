"""`genir generate-queries`: queries for every document of a corpus, as a file."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genir.config import PseudoSection, validate
from genir.console import print_line
from genir.corpus.folder import read_corpus
from genir.corpus.pages import corpus_files
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.folders import temporary_folder
from genir.generation.queries import part_of
from genir.outputs import check_distinct
from genir.settings import apply_settings
from genir.training.job import Job, train_generator
from genir.training.pseudo import is_file, is_recipe, make_queries


@dataclass(frozen=True)
class Request:
    """What `genir generate-queries` is asked for; `settings` are keys of `[pseudo]`.

    resume and overwrite together go on with what is to replace a whole file.
    """

    corpus: Path
    out: Path
    model: str
    queries: Path | None = None
    qrels: Path | None = None
    settings: Sequence[str] = ()
    resume: bool = False
    overwrite: bool = False


def generate_queries(request: Request) -> None:
    """Write the file of queries, training the generator first where a recipe is named.

    Raises InputError for bad input, Stopped on Ctrl-C: `resume` goes on from there.
    """
    out, generator = request.out, request.out.with_name(f"{request.out.name}.generator")
    values: dict[str, object] = {}
    apply_settings(values, request.settings, PseudoSection)
    options = validate(PseudoSection, {**values, "source": request.model}, "[pseudo]")
    if is_file(request.model):
        raise InputError(f"--model {request.model}: is a file of queries; name a model or a recipe")
    _refuse_inputs(request)
    begun = part_of(out).exists() or any(out.parent.glob(f"{generator.name}*"))
    if request.overwrite and not request.resume:
        _clear(out, generator)
    elif out.exists() and not request.overwrite:
        raise InputError(f"{out}: exists already; give another --out, or --overwrite to replace it")
    elif begun and not request.resume:
        raise InputError(
            f"{out}: was begun already; --resume goes on with it, --overwrite starts over"
        )
    source = request.model
    if is_recipe(source):
        job = Job(source, request.corpus, out, request.queries, request.qrels)
        source = str(train_generator(job, options, generator, ()))
    with temporary_folder() as folder:
        path = folder / "documents.sqlite"
        documents = DocumentStore.create(path, read_corpus(request.corpus))
        make_queries(source, documents, options, out)
        documents.close()
    shutil.rmtree(generator, ignore_errors=True)
    with out.open(encoding="utf-8") as lines:
        print_line(f"{out}: {sum(1 for _ in lines):,} queries", stderr=True)


def _refuse_inputs(request: Request) -> None:
    """Raise InputError where the output is one of the inputs."""
    inputs = {"--queries": request.queries, "--qrels": request.qrels}
    inputs["--model"] = Path(request.model)
    check_distinct({"--out": request.out}, inputs | corpus_files(request.corpus))


def _clear(out: Path, generator: Path) -> None:
    """Remove what an earlier run has begun; a whole file stays until the new one is whole."""
    part_of(out).unlink(missing_ok=True)
    for folder in (generator, generator.with_name(f"{generator.name}.training")):
        shutil.rmtree(folder, ignore_errors=True)
