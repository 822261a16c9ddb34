"""Static embeddings (model2vec, `StaticEmbedding`): a table of token vectors, without attention."""

from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer, processors
from torch import Tensor, nn

from genir.models.checkpoint_checks import first_line, unsupported_error
from genir.models.engine.encoder import EncoderOutput

STATIC_LENGTH = 8_192
"""Maximum number of tokens of a text if the tokenizer states none."""
PADDING_TOKENS = ("[PAD]", "<pad>", "[UNK]", "<unk>")


class StaticNetwork(nn.Module):
    """A table of token vectors with the interface of a transformer."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=width)
        self.embedding = nn.Embedding(rows, width)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table."""
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        """Return the vectors of tokens int64 [B, S] as `last_hidden_state`, [B, S, width]."""
        return EncoderOutput(last_hidden_state=self.embedding(input_ids))


def load_static(name: str) -> tuple[StaticNetwork, Any]:
    """Load table and tokenizer of a folder or hub name, in the format of either library.

    Raises:
        InputError: A file is missing, damaged or does not fit the other.
    """
    from transformers.utils import cached_file

    files = [cached_file(name, file, _raise_exceptions_for_missing_entries=False)
             for file in ("model.safetensors", "tokenizer.json")]  # fmt: skip
    if None in files:
        raise unsupported_error(
            name, "static embeddings need model.safetensors and tokenizer.json",
            "save them by SentenceTransformer.save_pretrained() of a release from 2024 on",
        )  # fmt: skip
    try:
        table = _table(load_file(str(files[0])))
        tokenizer = static_tokenizer(str(files[1]))
    except Exception as error:  # tokenizers raises plain Exception
        raise unsupported_error(name, first_line(error)) from None
    if tokenizer.pad_token_id == len(table):  # an added token; a text without tokens consists of it
        table = torch.cat([table, table.mean(dim=0, keepdim=True)])
    if not bool(table.isfinite().all()):
        raise unsupported_error(name, "its weights have values that are not finite")
    network = StaticNetwork(*table.shape)
    network.embedding.weight = nn.Parameter(table)
    return network, tokenizer


def _table(weights: dict[str, Tensor]) -> Tensor:
    """Return one row a token, float32: model2vec may store shared rows, and a weight a token."""
    if "embedding.weight" in weights:
        table = weights["embedding.weight"].float()
    elif "embeddings" in weights:
        table = weights["embeddings"].float()
        if "mapping" in weights:
            table = table[weights["mapping"].long()]
        if "weights" in weights:
            table = table * weights["weights"].float()[:, None]
    else:
        raise SafetensorError("model.safetensors has no embeddings")
    if table.dim() != 2:
        raise SafetensorError(f"its embeddings have {table.dim()} dimensions, not 2")
    return table.contiguous()


def static_tokenizer(file: str) -> Any:
    """Return a transformers tokenizer of a tokenizer.json, without special tokens at the ends.

    A padding token is added if there is none.
    """
    from transformers import PreTrainedTokenizerFast

    content = Tokenizer.from_file(file)
    known = (token for token in PADDING_TOKENS if content.token_to_id(token) is not None)
    # The padding token becomes special, here as when it is loaded again: it must be no plain word.
    pad = next(known, PADDING_TOKENS[0])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=content, pad_token=pad)
    inner: Tokenizer = tokenizer.backend_tokenizer
    tokenizer.model_max_length = (inner.truncation or {}).get("max_length", STATIC_LENGTH)
    inner.no_padding()
    inner.no_truncation()
    inner.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    return tokenizer
