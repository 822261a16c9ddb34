"""What is trained before a row: its start, and what makes queries up. Shared by all rows alike."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.budget import Fit, facts, fit, settings_of, steps_found
from benchmarks.contents import (
    digest_of,
    held_out_alike,
    raw_recipe,
    recipe_facts,
    source_of,
    start_of,
)
from benchmarks.locks import held
from benchmarks.plan import Budget, Taken, for_all
from genir.config import PseudoSection, load_recipe
from genir.training.generate import Request, generate_queries
from genir.training.inputs import same_as_start
from genir.training.signals import Stopped

UNSAFE = re.compile(r"""[ "\[\]{}*?;&|<>()]""")
"""What a shell would not take as it stands."""


@dataclass(frozen=True)
class Trained:
    """A model folder or a file of queries, its commands, and the figures of each training."""

    place: Path
    commands: tuple[str, ...]
    told: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Bench:
    """Where parts are made, and on what: a collection's corpus folder.

    taken: the steps of recipes that are trained for so many, and not until their time is over.
    """

    corpus: Path
    work: Path
    budget: Budget
    taken: Taken = field(default_factory=dict)

    def path(self, kind: str, facts: Any) -> Path:
        """Return the place of a part that these facts describe."""
        name = f"{self.corpus.name}-{kind}-{digest_of(facts)}"
        return self.work / "parts" / name

    def part(self, recipe: str, settings: tuple[str, ...], seconds: float) -> Path:
        """Return the place of a model that is trained for so many seconds, or for known steps.

        What others have trained in these seconds is the same, if it took these steps.
        """
        kind, own = Path(recipe).stem, recipe_facts(recipe, settings)
        timed, steps = self.path(kind, [own, round(seconds, 3)]), self.taken.get(recipe)
        if steps is None or steps == steps_found(timed):
            return timed
        return self.path(kind, [own, dict(steps)])

    def shown(self, path: Path) -> str:
        """Return a path as commands have it."""
        return f"$WORK/{path.relative_to(self.work)}"

    def set(self, settings: Iterable[str]) -> list[str]:
        """Return settings as commands have them; `$WORK` is left for the shell to read."""
        plain = [setting.replace(str(self.work), "$WORK") for setting in settings]
        return [f"--set '{one}'" if UNSAFE.search(one) else f"--set {one}" for one in plain]


def train_row(
    bench: Bench, recipe: str, settings: tuple[str, ...], seconds: float, out: Path
) -> Trained:
    """Train a recipe and all that comes before it, in so many seconds together, or in known steps.

    Seconds are of training, on a GPU or one core: what is embedded, assembled, written and measured
    comes on top.
    Raises InputError for bad input, Stopped on a signal: the same call goes on from there.
    """
    values = raw_recipe(recipe, settings)
    before, own, left = [], list(settings), seconds
    if source_of(values):
        share = bench.budget.generator * seconds
        before.append(_queries(bench, recipe, settings, share))
        own.append(f"pseudo.source={before[-1].place}")
        left -= share
    if start_of(values):
        share = bench.budget.start * seconds
        before.append(_trained(bench, start_part(bench, recipe, settings, share)))
        own.append(f"model.start={before[-1].place}")
        left -= share
    asked = Fit(recipe, tuple(own), bench.corpus, out, left, bench.taken.get(recipe))
    with _afresh_after_failure(out):
        steps = fit(asked)
    return Trained(
        out,
        (*(line for part in before for line in part.commands), command(bench, asked, steps)),
        (*(fact for part in before for fact in part.told), _told(recipe, steps, out)),
    )


def command(bench: Bench, asked: Fit, steps: dict[str, int]) -> str:
    """Return the line that trains the same model."""
    words = ["python train.py", asked.recipe, "--corpus", bench.shown(bench.corpus)]
    words += ["--out", bench.shown(asked.out)]
    return " ".join([*words, *bench.set(settings_of(asked, steps))])


@dataclass(frozen=True)
class Part:
    """A model that is trained before a row: its recipe with settings, seconds and place."""

    recipe: str
    settings: tuple[str, ...]
    seconds: float
    place: Path


def start_part(bench: Bench, recipe: str, settings: tuple[str, ...], seconds: float) -> Part:
    """Return what the recipe starts from, which must not see what the recipe holds out."""
    whole = load_recipe(recipe, settings)
    start, own = whole.model.start, (*held_out_alike(recipe, settings), *same_as_start(whole))
    own = (*for_all(bench.budget, start), *own)
    return Part(start, own, seconds, bench.part(start, own, seconds))


def generator_part(bench: Bench, recipe: str, settings: tuple[str, ...], seconds: float) -> Part:
    """Return what writes queries for a recipe, which must not see what the recipe holds out."""
    whole = load_recipe(recipe, settings)
    options, training = whole.pseudo, whole.training
    shared = (f"training.dev_queries={training.dev_queries}", f"training.seed={training.seed}")
    own = (*for_all(bench.budget, options.source), *shared, *options.settings)
    return Part(options.source, own, seconds, bench.part(options.source, own, seconds))


def queries_file(bench: Bench, recipe: str, settings: tuple[str, ...], generator: Part) -> Path:
    """Return the file of what the generator writes for the recipe."""
    keys = load_recipe(recipe, settings).pseudo.model_dump(exclude={"source", "settings"})
    return bench.path("queries", [generator.place.name, keys]).with_suffix(".jsonl")


def places(bench: Bench, recipe: str, settings: tuple[str, ...], seconds: float) -> Iterator[Path]:
    """Yield where all that comes before a recipe is, or will be, what is made first first."""
    values = raw_recipe(recipe, settings)
    if source_of(values):
        generator = generator_part(bench, recipe, settings, bench.budget.generator * seconds)
        yield from (generator.place, queries_file(bench, recipe, settings, generator))
    if start_of(values):
        start = start_part(bench, recipe, settings, bench.budget.start * seconds)
        yield from places(bench, start.recipe, start.settings, start.seconds)
        yield start.place


def _trained(bench: Bench, part: Part) -> Trained:
    with held(bench.work, part.place.name):
        return train_row(bench, part.recipe, part.settings, part.seconds, part.place)


def _queries(bench: Bench, recipe: str, settings: tuple[str, ...], seconds: float) -> Trained:
    """Train what writes queries, and let it write."""
    generator = generator_part(bench, recipe, settings, seconds)
    file = queries_file(bench, recipe, settings, generator)
    trained = _trained(bench, generator)
    keys = load_recipe(recipe, settings).pseudo.model_dump(exclude={"source", "settings"})
    defaults = PseudoSection().model_dump()
    changed = [f"{name}={value}" for name, value in keys.items() if value != defaults[name]]
    with held(bench.work, file.name):
        if not file.is_file():
            asked = Request(bench.corpus, file, str(generator.place), settings=changed, resume=True)
            with _afresh_after_failure(file):
                generate_queries(asked)
    words = ["genir generate-queries", bench.shown(bench.corpus), "--out", bench.shown(file)]
    words += ["--model", bench.shown(generator.place), *bench.set(changed)]
    return Trained(file, (*trained.commands, " ".join(words)), trained.told)


def _told(recipe: str, steps: dict[str, int], model: Path) -> dict[str, Any]:
    first = {"first": steps["first"]} if "first" in steps else {}
    return {"recipe": recipe, **facts(model), **first}


@contextmanager
def _afresh_after_failure(out: Path) -> Iterator[None]:
    """Remove what the block was at when it fails, for it would again; not when it is stopped."""
    try:
        yield
    except Stopped:
        raise
    except Exception:  # whatever it is: it is raised again, and nothing goes on from half a row
        remove(out)
        raise


def remove(out: Path) -> None:
    """Remove a model folder, or what was begun of it."""
    for path in out.parent.glob(f"{out.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
