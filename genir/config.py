"""Recipe: the configuration of a method, as a TOML file.

Sections that name a variant (`[identifiers] scheme`, `[[tasks]] task`, `[model] kind`, `[[losses]]
loss`, `[decoding] strategy`) accept any further keys here; the registry of the variant checks them
with `validate`.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genir.arguments import as_path, as_texts
from genir.console import UNSAFE
from genir.errors import InputError, did_you_mean
from genir.overrides import apply_settings
from genir.text_files import read_text
from genir.toml_parser import parse_toml

Precision = Literal["auto", "bf16", "fp32"]
"""Precision of matrix products; auto: the faster one (see `genir.models.precision`)."""


class StrictModel(BaseModel):
    """Frozen section that refuses unknown keys.

    `files` and `weights` must return the files and pre-trained weights that options name, so that
    resuming detects changes. tests/training/test_fingerprints.py checks it for all tasks, losses,
    schemes and models.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def files(self) -> list[Path]:
        """Return the files that these options name.

        Raises:
            InputError: a file is missing.
        """
        return []

    def weights(self) -> list[str]:
        """Return the pre-trained models that these options name: minilm, folders, hub names."""
        return []


class VariantSection(BaseModel):
    """Frozen section that names a variant; further keys are the variant's options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    discriminator: ClassVar[str]
    registry: ClassVar[str]
    """Registry of the variants, as module:name; imported when options are first looked up."""

    @classmethod
    def variant_options(cls, values: Any) -> type[BaseModel] | None:
        """Return the options class of the variant; None if the name is unknown."""
        default = cls.model_fields[cls.discriminator].default
        name = values.get(cls.discriminator, default) if isinstance(values, Mapping) else default
        found = resolve_name(cls.registry).get(name) if isinstance(name, str) else None
        return None if found is None else found.Options

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the variant."""
        return dict(self.model_extra or {})


class IdentifierSection(VariantSection):
    """`[identifiers]`: identifier scheme and its options."""

    discriminator = "scheme"
    registry = "genir.identifiers.registry:SCHEMES"
    scheme: str = "atomic"


class TaskSection(VariantSection):
    """`[[tasks]]`: one training task.

    weight: passes over its examples per epoch. typo_prob: probability of one typing error in a
    source.
    """

    discriminator = "task"
    registry = "genir.tasks.registry:TASKS"
    task: str
    weight: float = Field(default=1.0, gt=0)
    typo_prob: float = Field(default=0.0, ge=0, le=1)


class ModelSection(VariantSection):
    """`[model]`: kind of model and its options.

    init_from: recipe or model folder to initialise from (encoder-head: its encoder and document
    vectors; seq2seq: all weights); a recipe is trained first.
    """

    discriminator = "kind"
    registry = "genir.models.registry:MODELS"
    kind: str = "encoder-head"
    init_from: str = ""


class LossSection(VariantSection):
    """`[[losses]]`: one term of the training loss, multiplied by `weight`."""

    discriminator = "loss"
    registry = "genir.training.losses.registry:LOSSES"
    loss: str = "cross-entropy"
    weight: float = Field(default=1.0, gt=0)


class TrainingSection(StrictModel):
    """`[training]`: parameters of the training loop; lengths are in tokens.

    Newly initialised parameters, including all of a model from scratch, have their own learning
    rate and no weight decay.
    """

    epochs: float = Field(default=2.0, gt=0)
    max_steps: int = Field(default=0, ge=0, description="cut training short; 0 = all epochs")
    without_queries: Literal["train", "skip"] = Field(
        default="train",
        description="skip: keep the initial model if there are no train or generated queries",
    )
    batch_size: int = Field(default=256, ge=1, description="examples of a process")
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="batches of a step; their mean loss counts"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="less memory: layers are computed again in the backward pass"
    )
    optimizer: Literal["adamw", "adafactor", "rmsprop"] = Field(
        default="adamw", description="adafactor: with the learning rates of the recipe"
    )
    schedule: Literal["cosine", "linear", "inverse-square-root", "constant"] = Field(
        default="cosine", description="of the learning rates, after the warmup"
    )
    learning_rate: float = Field(default=5e-5, gt=0)
    head_learning_rate: float = Field(
        default=2e-3, gt=0, description="of newly initialized parameters"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1, description="fraction of the steps")
    max_norm: float = Field(default=1.0, ge=0, description="gradient clipping; 0 = none")
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="measure and keep the exponential moving average of the weights; 0 = none",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    dev_queries: int = Field(default=500, ge=0, description="held out of the train queries")
    num_dev_evals: int = Field(default=8, ge=1, description="dev evaluations per training")
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="seconds between checkpoints")
    source_length: int = Field(default=64, ge=4)
    target_length: int = Field(default=64, ge=2, description="of text targets")
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)


class DecodingSection(VariantSection):
    """`[decoding]`: search strategy and its options."""

    discriminator = "strategy"
    registry = "genir.decoding.strategies.registry:STRATEGIES"
    strategy: str = "beam"
    beams: int = Field(default=20, ge=1)
    softmax: Literal["vocabulary", "trie", "none"] = Field(
        default="vocabulary",
        description="normalise over the vocabulary or over legal symbols; none: sums of logits",
    )
    spelling: bool = Field(
        default=False, description="add the nearest word of the corpus after each unknown one"
    )

    @property
    def is_text(self) -> bool:
        """Whether the model generates text, and ranks no documents."""
        return self.strategy == "text"


class PseudoQueriesSection(StrictModel):
    """`[pseudo_queries]`: generated queries for every document, added to the train queries.

    Under the scheme `views` they are also identifiers.

    source: a recipe (trained first), a model folder, a transformers encoder-decoder or causal
    language model, or a `.jsonl` file of queries; "" disables. settings: overrides of the recipe.
    temperature, top_k (0 = all), top_p: sampling. noise: noise on word embeddings, relative to
    their standard deviation (UDEG, 2021). drop: fraction of words dropped, randomly per query.
    prompt: template with `{title}` and `{text}`; "" is the title, then the text.
    """

    source: str = ""
    settings: tuple[str, ...] = ()
    count: int = Field(default=5, ge=1, description="queries sampled per document")
    words: int = Field(default=64, ge=1, description="words of a document's text in the prompt")
    length: int = Field(default=24, ge=2, description="maximum number of tokens of a query")
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=10, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    noise: float = Field(default=0.0, ge=0)
    drop: float = Field(default=0.0, ge=0, lt=1)
    prompt: str = ""
    batch_size: int = Field(default=32, ge=1, description="documents per batch")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, prompt: str) -> str:
        """Validate the template now: the generator may have to be trained before its use."""
        try:
            prompt.format(title="", text="")
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"{error!r}; use only {{title}} and {{text}} in braces") from None
        return prompt


class RerankSection(StrictModel):
    """`[rerank]`: second ranking of the first hits by a model that reads query and text together.

    model: a cross-encoder of sentence-transformers with one label, or monoT5: a local folder or a
    hub name; "" disables. A model folder stores the name, not the weights.
    """

    model: str = ""
    top_n: int = Field(default=50, ge=1, description="hits that are re-ranked")
    length: int = Field(
        default=0, ge=0, description="maximum number of tokens of a pair; 0: the model's own"
    )
    batch_size: int = Field(default=32, ge=1, description="pairs per batch")

    def weights(self) -> list[str]:
        """Return the re-ranker, if there is one."""
        return [self.model] if self.model else []

    def candidates(self, k: int) -> int:
        """Return the number of hits to retrieve for k hits."""
        return max(k, self.top_n) if self.model else k


class StageConfig(StrictModel):
    """Configuration of one model: identifiers, tasks, losses, model, training and decoding."""

    identifiers: IdentifierSection = IdentifierSection()
    tasks: tuple[TaskSection, ...] = Field(min_length=1)
    losses: tuple[LossSection, ...] = Field(default=(LossSection(),), min_length=1)
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    decoding: DecodingSection = DecodingSection()


class Recipe(StageConfig):
    """Configuration of a method: one model, or two stages.

    passage_stage: model from queries to passages, trained first, whose passages the second stage
    reads. Keys missing in `[passage_stage.model]` (unless it names a kind) and
    `[passage_stage.training]` are inherited.
    """

    name: str
    description: str = ""
    paper: str = ""
    pseudo_queries: PseudoQueriesSection = PseudoQueriesSection()
    rerank: RerankSection = RerankSection()
    passage_stage: StageConfig | None = None


M = TypeVar("M", bound=BaseModel)
MAX_RECIPE_CHARS = 2**20


def validate(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Build a `model` from `values`.

    Args:
        where: Prefix of messages, e.g. "default.toml [training]".

    Raises:
        InputError: lists every invalid key with its value, the reason and the nearest valid name.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_complaint(model, item) for item in error.errors()]
        raise InputError(f"{where}: " + "; ".join(lines)) from None


def _complaint(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join(path) or model.__name__
    if item["type"] == "extra_forbidden":
        return f"unknown key {name!r}{did_you_mean(path[-1], _fields(model, path[:-1]))}"
    if item["type"] == "missing":
        return f"the key {name!r} is missing; add it"
    return f"{name} = {item['input']!r:.200}: {item['msg']}"


def _fields(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


PAPERS = "papers"
"""Folder of the paper profiles, and the first part of their names."""


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes, without the paper profiles."""
    return _stems(resources.files("genir") / "recipes")


def profile_names() -> list[str]:
    """Return the names of the paper profiles, e.g. `papers/dsi`: values of the papers' authors."""
    return [f"{PAPERS}/{name}" for name in _stems(resources.files("genir") / "recipes" / PAPERS)]


def _stems(folder: Traversable) -> list[str]:
    files = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def is_recipe(name: str) -> bool:
    """Return whether a name is a recipe's: built in, a paper profile, or a .toml file."""
    return name.endswith(".toml") or name in recipe_names() or name in profile_names()


def load_recipe(name: str | Path, settings: str | Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path, and apply overrides e.g. `training.epochs=1`.

    Raises:
        InputError: a file is missing, malformed, or has an unknown key or invalid value.
    """
    text, where = _recipe_text(name)
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    apply_settings(values, as_texts(settings, "settings"), Recipe)
    _inherit(values)
    values.setdefault("name", Path(name).stem)
    return validate(Recipe, values, where)


def _inherit(values: dict[str, Any]) -> None:
    """Copy missing keys of `[passage_stage]` from model and training, so both stages share them."""
    first = values.get("passage_stage")
    if not isinstance(first, dict):
        return
    for section in ("model", "training"):
        shared, own = values.get(section, {}), first.get(section, {})
        if not isinstance(shared, dict) or not isinstance(own, dict):
            continue  # reported by validation
        if section != "model" or "kind" not in own:
            first[section] = {**shared, **own}


def _recipe_text(name: str | Path) -> tuple[str, str]:
    path = as_path(name, "recipe")
    known = [*recipe_names(), *profile_names()]
    if str(name) in known:
        file = resources.files("genir") / "recipes" / f"{name}.toml"
        return file.read_text(encoding="utf-8"), f"recipe {name}"
    if path.suffix != ".toml" and ("/" not in str(name) or path.parent == Path(PAPERS)):
        raise InputError(f"unknown recipe {str(name)!r}{did_you_mean(str(name), known)}")
    if not path.is_file():
        raise InputError(
            f"{path}: no such recipe file; give a path to a .toml file or a name: "
            f"{', '.join(recipe_names())}"
        )
    return read_text(path, MAX_RECIPE_CHARS), str(path)


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as TOML, from which `load_recipe` restores an equal one."""
    values = recipe.model_dump(exclude_none=True)
    named = {key: values.pop(key) for key in ("name", "description", "paper")}
    # Characters that a terminal does not display occur in strings only, where TOML has escapes.
    return UNSAFE.sub(lambda found: f"\\U{ord(found[0]):08x}", tomli_w.dumps(named | values))
