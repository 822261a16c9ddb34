"""A toy corpus, and an encoder small enough to be made on the spot."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from genir.corpus.store import DocumentStore
from genir.models.encoder import TextEncoder
from genir.types import Document

TEXTS = {
    "cat": ("cat", "The cat prints and concatenates files."),
    "tar": ("tar", "Archives files, often compressed with gzip."),
    "grep": ("grep", "Finds the lines of files that match a pattern."),
    "ping": ("ping", "Sends packets to a network host."),
    "empty": ("", "-"),
}


@pytest.fixture
def corpus():
    return [
        Document(key, text, title, metadata={"network": key == "ping"})
        for key, (title, text) in TEXTS.items()
    ]


@pytest.fixture
def store(corpus, tmp_path):
    store = DocumentStore.create(tmp_path / "documents.sqlite", corpus)
    yield store
    store.close()


@pytest.fixture
def encoder():
    words = sorted({word for pair in TEXTS.values() for word in " ".join(pair).split()})
    names = ["[PAD]", "[UNK]", *words]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    return TextEncoder(BertModel(config), fast, 32)
