"""The recipe: a method as a TOML file. Knows the shape of its sections, not the variants in them.

Sections that name a variant (`[identifiers] scheme`, `[[tasks]] task`, `[model] kind`, `[[losses]]
loss`) keep the variant's own keys unchecked here; the registry of that layer checks them with
`validate`.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from genir.arguments import as_texts
from genir.errors import InputError, nearest
from genir.settings import apply_settings
from genir.text_files import read_text
from genir.toml import lines_of
from genir.toml_text import parse_toml

Precision = Literal["auto", "bf16", "fp32"]
"""Of matrix products; auto: what is faster here (see `genir.models.precision`)."""


class Strict(BaseModel):
    """A frozen section that refuses unknown keys.

    An option that names a file or pre-trained weights is returned by `files` or `weights`, so that
    resuming notices when its contents change. tests/training/test_fingerprints.py holds that no
    such option of a task, loss, scheme or model is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def files(self) -> list[Path]:
        """Return the files that these options name.

        Raises InputError where a named file is missing.
        """
        return []

    def weights(self) -> list[str]:
        """Return the pre-trained models that these options name: minilm, folders, hub names."""
        return []


class Section(BaseModel):
    """A frozen section whose further keys belong to the variant it names."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    chooser: ClassVar[str]
    variants: ClassVar[Mapping[str, Any]] = {}
    """Name -> class with `Options`: the registry of the section, which sets it."""

    @classmethod
    def options_of(cls, values: Any) -> type[BaseModel] | None:
        """Return the class of the variant's own keys, or None where its name is unknown."""
        default = cls.model_fields[cls.chooser].default
        name = values.get(cls.chooser, default) if isinstance(values, Mapping) else default
        found = cls.variants.get(name) if isinstance(name, str) else None
        return None if found is None else found.Options

    @property
    def options(self) -> dict[str, Any]:
        """Return the keys that belong to the variant."""
        return dict(self.model_extra or {})


class IdentifierSection(Section):
    """`[identifiers]`: the scheme and its parameters."""

    chooser = "scheme"
    scheme: str = "atomic"


class TaskSection(Section):
    """`[[tasks]]`: one task; `weight` is how often an epoch passes over its examples.

    `typos` is the probability that a source gets one typing error.
    """

    chooser = "task"
    task: str
    weight: float = Field(default=1.0, gt=0)
    typos: float = Field(default=0.0, ge=0, le=1)


class ModelSection(Section):
    """`[model]`: the kind of model and its parameters.

    `start` names a recipe or a model folder that this one starts from (a bridge: from its encoder
    and document vectors; a seq2seq: from all of it); a recipe is trained first.
    """

    chooser = "kind"
    kind: str = "bridge"
    start: str = ""


class LossSection(Section):
    """`[[losses]]`: one loss; what training makes small is their sum, each times its `weight`."""

    chooser = "loss"
    loss: str = "cross-entropy"
    weight: float = Field(default=1.0, gt=0)


class TrainingSection(Strict):
    """`[training]`: the one loop's parameters. Rates are AdamW's; lengths are in tokens.

    Newly made parameters, all those of a model from scratch among them, have a learning rate of
    their own and no weight decay.
    """

    epochs: float = Field(default=2.0, gt=0)
    max_steps: int = Field(default=0, ge=0, description="cut training short; 0 = all epochs")
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    head_learning_rate: float = Field(default=2e-3, gt=0, description="of newly made parameters")
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps")
    max_norm: float = Field(default=1.0, gt=0, description="gradient clipping")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    dev_queries: int = Field(default=500, ge=0, description="carved from the train queries")
    evaluations: int = Field(default=8, ge=1, description="dev measurements in one training")
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="between checkpoints")
    source_length: int = Field(default=64, ge=4)
    target_length: int = Field(default=64, ge=2, description="of text targets")
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)


class DecodingSection(Strict):
    """`[decoding]`: how a trained model answers."""

    mode: Literal["beam", "exact", "free"] = Field(
        default="beam", description="free: a model that writes text for genir generate-queries"
    )
    beams: int = Field(default=20, ge=1)
    budget: int = Field(default=1024, ge=1, description="nodes that exact mode expands for a query")
    look_ahead: float = Field(default=0.0, ge=0, description="weight of a document's prior")
    normalise: Literal["vocabulary", "legal"] = "vocabulary"
    aggregate: Literal["max", "logsumexp", "ngrams", "views"] = Field(
        default="max", description="a document's score from its identifiers'"
    )
    several: int = Field(default=1, ge=1, description="identifiers in one answer at most")
    query_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="of a second stage's answer: the query's own part",
    )

    @property
    def gathers(self) -> bool:
        """Tell whether documents are scored by all that a beam search comes upon."""
        return self.aggregate in ("ngrams", "views")

    @model_validator(mode="after")
    def _gathered(self) -> Self:
        if self.gathers and (self.mode != "beam" or self.look_ahead):
            raise ValueError(
                f"aggregate = {self.aggregate!r} adds up what a beam search finds; it goes with "
                'mode = "beam" and look_ahead = 0'
            )
        return self

    @model_validator(mode="after")
    def _joined(self) -> Self:
        if self.several > 1 and (self.mode, self.look_ahead, self.aggregate) != ("beam", 0, "max"):
            raise ValueError(
                f"several = {self.several}: answers of several identifiers are found by beam "
                'search alone; it goes with mode = "beam", look_ahead = 0 and aggregate = "max"'
            )
        return self


class PseudoSection(Strict):
    """`[pseudo]`: queries made up for every document before training; they join the train queries.
    Under the scheme `views` they are identifiers, too.

    source: who makes them: a recipe, which is trained first, a model folder of one, a transformers
    encoder-decoder or causal language model by folder or name, or a `.jsonl` file that has them;
    "" is nobody. settings: changes to that recipe, as `--set` has them. Sampling: temperature,
    top_k (0 = all), top_p; noise: of the words' embeddings, in their own spread (UDEG, 2021); drop:
    the share of words left out, other ones for each query. prompt: what is read, with `{title}` and
    `{text}`; "" is the title, then the text.
    """

    source: str = ""
    settings: tuple[str, ...] = ()
    count: int = Field(default=5, ge=1, description="queries sampled a document")
    words: int = Field(default=64, ge=1, description="of a document's text that are read")
    length: int = Field(default=24, ge=2, description="tokens of a query")
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=10, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    noise: float = Field(default=0.0, ge=0)
    drop: float = Field(default=0.0, ge=0, lt=1)
    prompt: str = ""
    batch_size: int = Field(default=32, ge=1, description="documents read together")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @field_validator("prompt")
    @classmethod
    def _fill(cls, prompt: str) -> str:
        """Try it: the model that reads it may have to be trained first."""
        try:
            prompt.format(title="", text="")
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"{error!r}; only {{title}} and {{text}} stand in braces") from None
        return prompt


class Stage(Strict):
    """What one model is trained by: identifiers x tasks x losses x model x training x decoding."""

    identifiers: IdentifierSection = IdentifierSection()
    tasks: tuple[TaskSection, ...] = Field(min_length=1)
    losses: tuple[LossSection, ...] = Field(default=(LossSection(),), min_length=1)
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    decoding: DecodingSection = DecodingSection()


class Recipe(Stage):
    """A whole method: one model, or two, of which the second reads what the first has found.

    first: a model from queries to passages, trained before; what it leaves out of `[first.model]`
    (unless it names a kind) and `[first.training]` is as in the recipe's own sections.
    """

    name: str
    description: str = ""
    paper: str = ""
    pseudo: PseudoSection = PseudoSection()
    first: Stage | None = None

    @model_validator(mode="after")
    def _passages_read(self) -> Self:
        where, reader = ("decoding", self) if self.first is None else ("first.decoding", self.first)
        if reader.decoding.query_share:
            raise ValueError(
                f"[{where}] query_share = {reader.decoding.query_share} is for a second stage, "
                "which reads passages as well; leave it at 0 where only queries are read"
            )
        return self

    @model_validator(mode="after")
    def _one_search(self) -> Self:
        stages = () if self.first is None else (self.decoding, self.first.decoding)
        for decoding in stages:
            if decoding.gathers:
                raise ValueError(
                    f"[decoding] aggregate = {decoding.aggregate!r} is for one stage; take 'max' "
                    "or 'logsumexp' where there is a [first]"
                )
            if decoding.several > 1:
                raise ValueError(
                    f"[decoding] several = {decoding.several} is for one stage; leave it at 1 "
                    "where there is a [first]"
                )
        return self


M = TypeVar("M", bound=BaseModel)
MAX_RECIPE_CHARS = 2**20


def validate(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Build `model` from `values`; `where` (such as "default.toml [training]") opens each message.

    Raises InputError that lists every bad key with its value, the reason and the nearest name.
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
        return f"unknown key {name!r}{nearest(path[-1], _fields(model, path[:-1]))}"
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


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with genir."""
    folder = resources.files("genir") / "recipes"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_recipe(name: str | Path, settings: str | Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path, and apply `key=value` settings such as `training.epochs=1`.

    Raises InputError for a missing file, bad TOML, an unknown or ill-typed key.
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
    """Give `[first]` what it leaves out of its model and training: one dial turns both stages."""
    first = values.get("first")
    if not isinstance(first, dict):
        return
    for section in ("model", "training"):
        shared, own = values.get(section, {}), first.get(section, {})
        if not isinstance(shared, dict) or not isinstance(own, dict):
            continue  # validation says what is wrong with it
        if section != "model" or "kind" not in own:
            first[section] = {**shared, **own}


def _recipe_text(name: str | Path) -> tuple[str, str]:
    path = Path(name)
    if path.suffix == ".toml" or "/" in str(name):
        if not path.is_file():
            raise InputError(
                f"{path}: no such recipe file; give a path to a .toml file or a name: "
                f"{', '.join(recipe_names())}"
            )
        return read_text(path, MAX_RECIPE_CHARS), str(path)
    if str(name) not in recipe_names():
        raise InputError(f"unknown recipe {str(name)!r}{nearest(str(name), recipe_names())}")
    file = resources.files("genir") / "recipes" / f"{name}.toml"
    return file.read_text(encoding="utf-8"), f"recipe {name}"


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML that `load_recipe` reads back to an equal one."""
    return "\n".join(lines_of(recipe.model_dump(exclude_none=True))) + "\n"
