"""BERT as a plain torch module, for encoders of model folders.

Importing transformers' `BertModel` takes two seconds of CPU, more than a search. This network has
the same parameter names and results; fresh encoders are loaded by transformers.
"""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from genir.models.engine.encoder import EncoderOutput

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Approximation of GELU by transformers' name of the activation."""


class BertConfig(BaseModel):
    """The keys of transformers' config.json that the network needs; others are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    vocab_size: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    max_position_embeddings: int = Field(ge=1)
    type_vocab_size: int = Field(ge=1)
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json, as transformers reads it."""
        text = json.dumps(self.model_dump(), indent=2, sort_keys=True)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def supported_config(values: Any) -> BertConfig | None:
    """Return the configuration of a plain BERT encoder; None for any other network.

    Args:
        values: Content of a config.json.
    """
    if not isinstance(values, dict) or values.get("model_type") != "bert":
        return None
    other = values.get("position_embedding_type", "absolute") != "absolute"
    if other or values.get("is_decoder") or values.get("add_cross_attention"):
        return None
    try:
        config = BertConfig.model_validate(values)
    except ValidationError:  # transformers reports the error
        return None
    whole_heads = config.hidden_size % config.num_attention_heads == 0
    return config if whole_heads and config.hidden_act in ACTIVATIONS else None


class BertNetwork(nn.Module):
    """A bidirectional BERT without pooler; all tokens have token type 0."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.embeddings.word_embeddings

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """Compute activations again in the backward pass, as transformers' networks do.

        options: arguments of `torch.utils.checkpoint.checkpoint`.
        """
        self.encoder.checkpoint_options = options

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> EncoderOutput:
        """Encode tokens, int64 [B, S] each: `last_hidden_state`, [B, S, hidden size]."""
        mask = attention_mask[:, None, None].bool()
        return EncoderOutput(self.encoder(self.embeddings(input_ids), mask))


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = _embedding(config.vocab_size, width, config.pad_token_id)
        self.position_embeddings = _embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = _embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor) -> Tensor:
        words = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        found: Tensor = self.dropout(self.LayerNorm(words + self.position_embeddings(places)))
        return found


def _embedding(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    """Return a table of zeros: random values on the meta device would import torch._dynamo."""
    return nn.Embedding(rows, width, padding, _weight=torch.zeros(rows, width))


class _Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.checkpoint_options: dict[str, Any] | None = None

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.training and self.checkpoint_options is not None:
            from torch.utils.checkpoint import checkpoint  # searches do without it

            for layer in self.layer:
                states = checkpoint(layer, states, mask, **self.checkpoint_options)
            return states
        for layer in self.layer:
            states = layer(states, mask)
        return states


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.intermediate = _Intermediate(config)
        self.output = _Output(config.intermediate_size, config)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        states = self.attention(states, mask)
        found: Tensor = self.output(self.intermediate(states), states)
        return found


class _Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _Output(config.hidden_size, config)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.output(self.self(states, mask), states)
        return found


class _SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = width // config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Attend to the tokens of a mask, bool [B, 1, 1, S]."""
        shape = (*states.shape[:-1], self.num_attention_heads, self.attention_head_size)
        query, key, value = (
            one(states).view(shape).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        if self.training and states.device.type == "cpu":  # as `eval_mode.choose_attention`
            scores = torch.matmul(query, key.transpose(2, 3)) * self.attention_head_size**-0.5
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            found = torch.matmul(self.dropout(scores.softmax(dim=-1)), value)
        else:
            dropout = self.dropout.p if self.training else 0.0
            found = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        return found.transpose(1, 2).flatten(2)


class _Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = nn.GELU(ACTIVATIONS[config.hidden_act])

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.intermediate_act_fn(self.dense(states))
        return found


class _Output(nn.Module):
    """Projection, dropout, residual and layer norm."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor, residual: Tensor) -> Tensor:
        found: Tensor = self.LayerNorm(self.dropout(self.dense(states)) + residual)
        return found
