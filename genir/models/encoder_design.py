"""Design of a text encoder: the network, pooling and further layers of each role, and prompts.

The layers are modules of sentence-transformers. Only the types and activation functions listed here
are valid, so a design from a stranger cannot name code.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from genir.config import StrictModel

Role = Literal["query", "document"]
ROLES: tuple[Role, ...] = get_args(Role)
NetworkType = Literal["Transformer", "StaticEmbedding"]
LayerType = Literal["Pooling", "Dense", "LayerNorm", "Normalize"]
NETWORKS, LAYERS = get_args(NetworkType), get_args(LayerType)
WEIGHTED_LAYERS = ("Dense", "LayerNorm")
DOCUMENT_FOLDER = "document_encoder"
"""Subfolder of a model folder with configuration and tokenizer of a separate document network."""
PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "Mish",
               "Softplus", "Hardswish")  # fmt: skip
"""Activation functions of a Dense layer, of `torch.nn`."""
MAX_SIZE = 2**24
"""Largest valid dimension and number of tokens."""
Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class PoolingConfig(StrictModel):
    """Options of a Pooling layer. Several modes are concatenated, in order."""

    pooling_mode: tuple[PoolingMode, ...] = Field(default=("mean",), min_length=1)
    include_prompt: bool = True

    @field_validator("pooling_mode")
    @classmethod
    def _modes_differ(cls, modes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(modes)) < len(modes):
            raise ValueError("a pooling mode occurs twice")
        return modes


class DenseConfig(StrictModel):
    """Options of a Dense layer."""

    in_features: Size
    out_features: Size
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None
    use_residual: bool = False

    @field_validator("activation_function")
    @classmethod
    def _activation_is_known(cls, path: str) -> str:
        package, _, name = path.rpartition(".")
        if not f"{package}.".startswith("torch.nn.") or name not in ACTIVATIONS:
            raise ValueError(f"not one of torch.nn's {', '.join(ACTIVATIONS)}")
        return path


class LayerNormConfig(StrictModel):
    """Options of a LayerNorm layer."""

    dimension: Size


class NormalizeConfig(StrictModel):
    """Options of a Normalize layer."""

    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None


class NoConfig(StrictModel):
    """Options of a network: none."""


CONFIGS: dict[str, type[StrictModel]] = {
    "Pooling": PoolingConfig,
    "Dense": DenseConfig,
    "LayerNorm": LayerNormConfig,
    "Normalize": NormalizeConfig,
}


class EncoderPart(StrictModel):
    """A network or a layer.

    folder: subfolder of its files. length: maximum number of tokens of a text, for a network.
    lower_case: convert texts to lower case. rows, width: shape of a table of static embeddings.
    config: options of a layer.
    """

    type: NetworkType | LayerType
    folder: str = ""
    length: Size | None = None
    lower_case: bool = False
    rows: int = Field(default=0, ge=0, le=MAX_SIZE)
    width: int = Field(default=0, ge=0, le=MAX_SIZE)
    config: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_are_known(self) -> Self:
        try:
            self.options  # noqa: B018 (validates)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return self

    @property
    def options(self) -> StrictModel:
        """Options of a layer, with their defaults."""
        return CONFIGS.get(self.type, NoConfig).model_validate(self.config)


class EncoderDesign(StrictModel):
    """Parts by id, and the ids of each role's network and layers, in order.

    Two roles that share all parts are one encoder; others are two towers, which may share some.
    """

    parts: dict[str, EncoderPart]
    query: list[str] = Field(min_length=1)
    document: list[str] = Field(min_length=1)
    query_prompt: str = ""
    document_prompt: str = ""
    truncate_dim: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _routes_are_complete(self) -> Self:
        for role in ROLES:
            if unknown := set(self.route(role)) - self.parts.keys():
                raise ValueError(f"{role}: there is no part {min(unknown)!r}")
            first, *others = [self.parts[one].type for one in self.route(role)]
            if first not in NETWORKS or not set(others) <= set(LAYERS):
                found = ", ".join([first, *others])
                raise ValueError(f"{role}: {found}: not a network followed by layers")
        return self

    def layers(self, role: Role) -> list[EncoderPart]:
        """Return the layers after a role's network."""
        return [self.parts[one] for one in self.route(role)[1:]]

    def route(self, role: Role) -> list[str]:
        """Return the ids of a role's parts."""
        return self.query if role == "query" else self.document

    def prompt(self, role: Role) -> str:
        """Return the text before each text of a role."""
        return self.query_prompt if role == "query" else self.document_prompt

    def with_part(self, name: str, **changes: Any) -> Self:
        """Return a copy with other fields of a part."""
        changed = self.parts[name].model_copy(update=changes)
        return self.model_copy(update={"parts": self.parts | {name: changed}})


def mean_design(network: EncoderPart | None = None) -> EncoderDesign:
    """Return the design of a network, by default a transformer, with mean pooling."""
    parts = {"0": network or EncoderPart(type="Transformer"), "1": EncoderPart(type="Pooling")}
    return EncoderDesign(parts=parts, query=["0", "1"], document=["0", "1"])


def is_normalize(part: EncoderPart) -> bool:
    """Return whether a part scales the vectors of texts to unit length."""
    options = part.options
    if not isinstance(options, NormalizeConfig):
        return False
    found = {options.module_input_name, options.module_output_name or options.module_input_name}
    return found == {"sentence_embedding"}


def is_mean_pooling(layers: Sequence[EncoderPart]) -> bool:
    """Return whether layers are a mean over all tokens, scaled to unit length or not."""
    plain = bool(layers) and layers[0].options == PoolingConfig()
    return plain and all(map(is_normalize, layers[1:]))
