"""Random weights in the formats in which authors published theirs."""

import string

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

BASE_ROWS, LEVELS, CODES = 400, 4, 8
"""Embeddings of DDRO's model before those of the codes, which are more than the tokenizer's tokens;
its 24 levels of 256 codes, smaller."""


def genre(folder, **sizes):
    """Write a BART as GENRE's conversion script does: no embedding of `<mask>`, tied matrices."""
    letters = list(bytes_to_unicode().values())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, "in", "co", "Ġf", "<mask>"]
    merges = [("i", "n"), ("c", "o"), ("Ġ", "f")]
    tokenizer = BartTokenizer(vocab={one: n for n, one in enumerate(tokens)}, merges=merges)
    shape = {"d_model": 16, "max_position_embeddings": 96} | {
        f"{half}_{size}": number
        for half in ("encoder", "decoder")
        for size, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
    }
    torch.manual_seed(0)
    net = BartForConditionalGeneration(BartConfig(vocab_size=len(tokens) - 1, **(shape | sizes)))
    _randomise(net)
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ddro(folder, tied=False, named=False, **sizes):
    """Write a T5 as DDRO's: rows for `LEVELS` x `CODES` codes after those of the T5, which are more
    than the tokenizer's, and an output matrix of its own (`use_origin_head = False`).

    named: whether the tokenizer has a token for each row.
    """
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2} | sizes
    config = T5Config(vocab_size=BASE_ROWS + LEVELS * CODES, decoder_start_token_id=0, **shape)
    torch.manual_seed(0)
    net = T5ForConditionalGeneration(config)
    _randomise(net)
    if not tied:
        net.lm_head.weight = torch.nn.Parameter(torch.randn(config.vocab_size, config.d_model))
    net.save_pretrained(folder)
    tokenizer = t5_tokenizer()
    if named:
        tokenizer.add_tokens([f"<code_{n}>" for n in range(len(tokenizer), config.vocab_size)])
    tokenizer.save_pretrained(folder)
    return folder


def t5_tokenizer():
    """Return a SentencePiece unigram tokenizer of letters and digits."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(one, -4.0) for one in string.ascii_letters + string.digits + ".,?-'"]
    pieces += [(f"▁{one}", -5.0) for one in string.ascii_lowercase]
    return T5Tokenizer(vocab=pieces, extra_ids=10)


def _randomise(net):
    """Spread the scores, and make biases other than 0, so that a forgotten one is detected."""
    for values in net.parameters():
        torch.nn.init.normal_(values, std=0.5)
