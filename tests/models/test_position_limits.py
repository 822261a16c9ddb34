"""Maximum number of tokens of networks with unusual position tables."""

import pytest
import torch
from nets import BART, BERT, make
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from genir.errors import InputError
from genir.models.backbone import Seq2SeqBackbone
from genir.models.encoder import TextEncoder
from genir.models.position_limits import max_working_length, positions, require_within

SMALL = BERT | {"hidden_size": 16}
NETS = {
    "BERT": (lambda: BertModel(BertConfig(**SMALL)), 32),
    "RoBERTa": (lambda: RobertaModel(RobertaConfig(**SMALL, pad_token_id=1)), 30),
    "RoBERTa, padding first": (lambda: RobertaModel(RobertaConfig(**SMALL, pad_token_id=0)), 31),
    "MPNet": (lambda: MPNetModel(MPNetConfig(**SMALL)), 30),
    "BART": (lambda: BartModel(BartConfig(**BART)).get_encoder(), 32),
    "GPT-2": (
        lambda: GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=9)),
        9,
    ),
}
ENDLESS = {
    "T5": lambda: T5Model(T5Config(vocab_size=40, d_model=16, num_layers=1)).get_encoder(),
    "ModernBERT": lambda: ModernBertModel(
        ModernBertConfig(**SMALL, pad_token_id=0, cls_token_id=1, sep_token_id=2)
    ),
}


def reader(net):
    def run(length):
        row = torch.full((1, length), 7)
        net(input_ids=row, attention_mask=torch.ones_like(row))

    return run


@pytest.mark.parametrize("name", NETS)
def test_a_limit_is_found_and_stated_alike(name):
    build, expected = NETS[name]
    net = build().train()
    assert max_working_length(net, reader(net), 50) == expected == positions(net)
    assert max_working_length(net, reader(net), expected) == expected
    assert max_working_length(net, reader(net), 4) == 4
    assert net.training


@pytest.mark.parametrize("name", ENDLESS)
def test_relative_positions_have_no_limit(name):
    net = ENDLESS[name]()
    assert max_working_length(net, reader(net), 600) == 600


def test_both_halves_of_an_encoder_decoder_have_their_own():
    transformer = Seq2SeqBackbone(make("BART"))
    assert transformer.longest_source(40) == transformer.longest_target(40) == 32
    transformer = Seq2SeqBackbone(make("T5"))
    assert transformer.longest_source(400) == transformer.longest_target(400) == 400


def test_a_length_beyond_is_refused_with_the_limit():
    require_within("[model] length", 9, 9, "the encoder 'x'")
    with pytest.raises(
        InputError,
        match=r"\[model\] length = 9: the encoder 'x' takes at most 8 tokens; set it to 8 or less",
    ):
        require_within("[model] length", 9, 8, "the encoder 'x'")


@pytest.mark.parametrize(("stated", "length"), [(None, 62), (24, 24)])
def test_the_length_of_a_bare_network(tmp_path, stated, length):
    """Its tokenizer's, and none beyond its positions, also if unknown words are padding."""
    pieces = {word: place for place, word in enumerate(["<s>", "<pad>", "</s>", "copy"])}
    rules = Tokenizer(WordLevel(pieces, unk_token="<pad>"))
    rules.pre_tokenizer = Whitespace()
    names = {"pad_token": "<pad>", "unk_token": "<pad>"} | (
        {} if stated is None else {"model_max_length": stated}
    )
    PreTrainedTokenizerFast(tokenizer_object=rules, **names).save_pretrained(tmp_path)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = RobertaConfig(
        vocab_size=4, hidden_size=8, max_position_embeddings=64, pad_token_id=1, **sizes
    )
    RobertaModel(config).save_pretrained(tmp_path)
    encoder = TextEncoder.pretrained(str(tmp_path))
    assert encoder.length == length
    assert encoder.embed(["copy " * 90, "unknown words"], "document").shape == (2, 8)
