"""The search strategies by name. Other packages add to them by entry points `genir.strategies`."""

from pathlib import Path

from genir.config import Recipe, StageConfig
from genir.decoding.strategies.base import SearchStrategy, read_options
from genir.decoding.strategies.beam import Beam, Exact
from genir.decoding.strategies.corpusbrain import CorpusBrain
from genir.decoding.strategies.lookahead import Lookahead
from genir.decoding.strategies.minder import Minder
from genir.decoding.strategies.seal import Seal
from genir.decoding.strategies.text import Text
from genir.decoding.strategies.tome import Tome
from genir.errors import InputError
from genir.plugins import Registry

STRATEGIES: Registry[SearchStrategy] = Registry(
    "genir.strategies",
    "[decoding] strategy",
    SearchStrategy,
    (Beam, Exact, Lookahead, Seal, Minder, CorpusBrain, Tome, Text),
)


def find_strategy(name: str) -> type[SearchStrategy]:
    """Return the strategy of a name. Raises InputError with the nearest one if it is unknown."""
    return STRATEGIES.find(name)


def load_strategy(recipe: Recipe, folder: Path | None) -> SearchStrategy:
    """Return the strategy of a checked recipe; folder: its model folder, None without stages."""
    strategy = find_strategy(recipe.decoding.strategy)
    stages = () if folder is None else strategy.load_stages(recipe, folder)
    return strategy(recipe, stages)


def check_strategy(recipe: Recipe) -> None:
    """Raise InputError for an unknown strategy or option, or one that does not fit the recipe."""
    strategy = find_strategy(recipe.decoding.strategy)
    strategy.check(read_options(strategy, recipe), recipe)
    if strategy.capabilities.trace and not issubclass(strategy, Beam):
        raise InputError(
            f"[decoding] strategy = {strategy.name!r}: its capabilities have trace = True, which "
            "only subclasses of Beam support; set it to False"
        )
    for stage in (recipe, recipe.passage_stage):
        if stage is not None and stage.decoding.softmax == "none":
            _require_logits(find_strategy(stage.decoding.strategy), stage is not recipe)
    if strategy.needs_passage_stage != (recipe.passage_stage is not None):
        raise InputError(
            f"[decoding] strategy = {strategy.name!r}: "
            + (
                "needs a [passage_stage]; add one, or use strategy = 'beam'"
                if strategy.needs_passage_stage
                else "does not use the [passage_stage]; use strategy = 'tome', or remove it"
            )
        )


def _require_logits(strategy: type[SearchStrategy], in_passage_stage: bool) -> None:
    """Raise InputError if a strategy, or the stage after it, needs log-probabilities."""
    if in_passage_stage or not strategy.takes_logits:
        raise InputError(
            f"[decoding] softmax = 'none': strategy {strategy.name!r} needs log-probabilities"
            f"{' in the passage stage' if in_passage_stage else ''}; use softmax = 'vocabulary'"
        )


def max_identifiers(stage: StageConfig) -> int:
    """Return the maximum number of identifiers in one answer. Raises like `check_strategy`."""
    strategy = find_strategy(stage.decoding.strategy)
    return strategy.max_identifiers(read_options(strategy, stage))
