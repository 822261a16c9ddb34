"""One tower of a text encoder: a network, pooling and further layers, with its tokenizer."""

from collections.abc import Sequence
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genir.errors import InputError
from genir.models.checkpoint_checks import add_padding, check_vocabulary, refuse_on_error
from genir.models.encoder_design import MAX_SIZE, ROLES, EncoderDesign, Role, mean_design
from genir.models.encoder_layers import embedding_width, pool
from genir.models.engine.converters import find_encoder_converter
from genir.models.engine.weight_cache import CastCache
from genir.models.eval_mode import choose_attention
from genir.models.network_loading import text_encoder_of
from genir.models.position_limits import max_working_length, positions, require_within
from genir.models.smoke_test import PROBE_TEXTS, SmokeTestFailed, check_encoder
from genir.models.static_network import StaticNetwork
from genir.models.tokenization import Prompt, encode_texts, pad_batch

DEFAULT_LENGTH = 256
"""Maximum number of tokens of a text if neither the recipe nor the encoder states one."""
MAX_OWN_LENGTH = 8_192
"""Largest number of tokens of a text that an encoder's own configuration may set."""
ENCODER_HINT = (
    "give 'minilm' or an encoder of a supported architecture: BERT, RoBERTa, MPNet, ModernBERT, "
    "T5, Qwen or similar"
)


class EncoderTower(nn.Module):
    """A network, pooling and further layers, then unit length.

    Attributes:
        backbone: Network of transformers without its decoder, or `StaticNetwork`.
        layers: Modules of sentence-transformers after it; None for the mean of the last states.
        length: Maximum number of tokens of a text.
        design: Networks, layers and prompts of both roles.
        prompts: Prompt of each role, counted in the tokens of its tokenizer.
    """

    def __init__(
        self,
        backbone: Any,
        tokenizer: Any,
        length: int,
        design: EncoderDesign | None = None,
        layers: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.config = backbone.config
        self.backbone = text_encoder_of(backbone)
        unknown, pad = (getattr(tokenizer, f"{name}_token_id", None) for name in ("unk", "pad"))
        # The engine numbers all tokens of a text; some networks skip those equal to padding.
        plain = pad is not None and unknown == pad
        converter = None if plain else find_encoder_converter(self.backbone)
        packed = converter is not None
        self.cast_cache = CastCache(self.backbone, packed=packed, converter=converter)
        self.tokenizer = tokenizer
        self.length = length
        self.layers = None if layers is None else nn.ModuleList(layers)
        self.design = design or mean_design()
        width = self.hidden_size if layers is None else embedding_width(layers, self.hidden_size)
        self.dimension = min(width, self.design.truncate_dim or width)
        self.prompts = {role: Prompt.measure(tokenizer, self.design.prompt(role)) for role in ROLES}

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode, and between their attention kernels."""
        if hasattr(self.backbone, "set_attn_implementation"):  # a network of transformers
            choose_attention(self.backbone, mode)
        if mode:
            self.cast_cache.clear_cache()
        return super().train(mode)

    @property
    def is_static(self) -> bool:
        """Whether the encoder is a table of token vectors."""
        return isinstance(self.backbone, StaticNetwork)

    @property
    def synchronises(self) -> bool:
        """Whether encoding a query synchronises with the device: excluding its prompt does."""
        excluded = any(not getattr(layer, "include_prompt", True) for layer in self.layers or ())
        return excluded and bool(self.prompts["query"].tokens)

    @property
    def hidden_size(self) -> int:
        """Dimension of a token's last hidden state."""
        return cast(int, self.backbone.config.hidden_size)

    @property
    def embeddings(self) -> Tensor:
        """Input embeddings, [vocabulary, width]."""
        return cast(Tensor, self.backbone.get_input_embeddings().weight.detach())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, role: Role = "query") -> Tensor:
        """Return unit vectors, float32 [batch, dimension], of tokens int64 [batch, length].

        The tokens include the prompt of the role.
        """
        return self.pooled(self.states(input_ids, attention_mask), attention_mask, role)

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last hidden state of each token, [batch, length, hidden size]."""
        read = self.cast_cache(input_ids=input_ids, attention_mask=attention_mask)
        return cast(Tensor, read.last_hidden_state)

    def pooled(self, states: Tensor, attention_mask: Tensor, role: Role = "query") -> Tensor:
        """Return unit vectors, float32 [batch, dimension], of states [batch, length, hidden]."""
        vectors = pool(self.layers, states, attention_mask, self.prompts[role].tokens)
        return F.normalize(vectors[:, : self.dimension], dim=-1)

    def reference(self, input_ids: Tensor, attention_mask: Tensor, role: Role) -> Tensor:
        """Same as `forward` with the network of transformers; the smoke test compares both."""
        read = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return self.pooled(read.last_hidden_state, attention_mask, role)

    def try_out(self, role: Role, name: str) -> None:
        """Run the network as in training and search. Raises InputError if it cannot be used."""
        self.require_room(role, f"the encoder {name!r}", positions(self.backbone) or MAX_SIZE)
        with refuse_on_error(name, type(self.backbone).__name__, ENCODER_HINT):
            add_padding(self.tokenizer, name)
            words = getattr(self.backbone.get_input_embeddings(), "weight", None)
            if words is None or words.dim() != 2:
                raise SmokeTestFailed("it has no token embeddings")
            check_vocabulary(self.tokenizer, len(words), name)
            prompt = self.prompts[role]
            ids = encode_texts(self.tokenizer, PROBE_TEXTS, 16 + prompt.tokens, prompt.text)
            check_encoder(self, *pad_batch(ids, self.tokenizer.pad_token_id), role)

    def max_length(self, wanted: int) -> int:
        """Return `wanted`, or the encoder's maximum number of tokens if that is smaller."""
        (read,) = encode_texts(self.tokenizer, PROBE_TEXTS[:1], wanted)
        pad = getattr(self.config, "pad_token_id", None)
        # Some networks give padding no position, and some tokenizers pad for unknown words.
        words = [token for token in read if token != pad] or [0 if pad else 1]

        def run(length: int) -> None:
            row = torch.tensor([(words * length)[:length]])
            self.backbone(input_ids=row, attention_mask=torch.ones_like(row))

        return max_working_length(self.backbone, run, wanted)

    def set_length(self, wanted: int | None, name: str) -> None:
        """Set the maximum length of a text: `wanted`, else the encoder's own."""
        if wanted is not None:
            self.refuse_length(wanted, "[model] length", name)
            self.length = wanted
        else:
            stated = int(self.tokenizer.model_max_length)
            own = stated if self.is_static else self.length or min(stated, DEFAULT_LENGTH)
            self.length = self.max_length(min(own or DEFAULT_LENGTH, MAX_OWN_LENGTH))

    def refuse_length(self, length: int, key: str, name: str, start: int = 0) -> None:
        """Raise InputError if the encoder accepts fewer tokens than `length`, set by `key`.

        start: tokens of `length` that `key` does not count.
        """
        most = self.max_length(length)
        require_within(key, length, most, f"the encoder {name!r}", start)

    def require_room(self, role: Role, where: str, length: int) -> None:
        """Raise InputError if the prompt of a role leaves no room for a text of a length."""
        used = len(self.tokenizer(self.prompts[role].text)["input_ids"])
        if used >= length:
            raise InputError(
                f"{where}: its {role} prompt and special tokens are {used} tokens, but a text has "
                f"at most {length} with them; shorten [model] {role}_prompt or raise [model] length"
            )
