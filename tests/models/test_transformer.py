"""Steps through the opened transformer against the untouched one of transformers, as oracle."""

import copy

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    T5GemmaConfig,
    T5GemmaForConditionalGeneration,
    T5GemmaModuleConfig,
)

from genir.errors import InputError
from genir.models.transformer import Transformer, branch, score

VOCABULARY = 40
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4} | {
    "vocab_size": VOCABULARY,
    "decoder_start_token_id": 0,
}
BART = {"d_model": 16, "max_position_embeddings": 32, "vocab_size": VOCABULARY} | {
    f"{half}_{size}": number
    for half in ("encoder", "decoder")
    for size, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
}
BERT = {"vocab_size": VOCABULARY, "max_position_embeddings": 32, "num_hidden_layers": 2} | {
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
GEMMA = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "head_dim": 8} | {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "final_logit_softcapping": 2.0,
}


def bert2bert():
    """Halves of unlike width, so that transformers projects between them."""
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**BERT, hidden_size=16),
        BertConfig(**BERT, hidden_size=24, is_decoder=True, add_cross_attention=True),
        decoder_start_token_id=2,
        pad_token_id=0,
    )
    return EncoderDecoderModel(config=config)


def t5gemma():
    halves = {half: T5GemmaModuleConfig(**GEMMA) for half in ("encoder", "decoder")}
    config = T5GemmaConfig(**halves, vocab_size=VOCABULARY, decoder_start_token_id=2)
    return T5GemmaForConditionalGeneration(config)


NETS = {
    "T5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "T5 v1.1": lambda: T5ForConditionalGeneration(
        T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "mT5": lambda: MT5ForConditionalGeneration(MT5Config(**T5)),
    "BART": lambda: BartForConditionalGeneration(BartConfig(**BART)),
    "Pegasus": lambda: PegasusForConditionalGeneration(PegasusConfig(**BART, scale_embedding=True)),
    "BERT2BERT": bert2bert,
    "T5Gemma": t5gemma,
}


@pytest.fixture(params=NETS)
def net(request):
    """A tiny net with no zero bias, so that a forgotten one shows."""
    torch.manual_seed(0)
    net = NETS[request.param]().eval()
    for values in (*net.parameters(), getattr(net, "final_logits_bias", torch.empty(1))):
        if values.numel() and (values.dim() == 1 or values.shape[0] == 1):
            torch.nn.init.normal_(values, std=0.5)
    return net


@pytest.fixture
def sources():
    mask = torch.ones(2, 5, dtype=torch.long)
    mask[1, 3:] = 0
    return torch.randint(5, VOCABULARY, (2, 5)), mask


@pytest.fixture
def targets():
    """Three targets a query, [2, 3, 4]."""
    return torch.randint(5, VOCABULARY, (2, 3, 4))


@torch.inference_mode()
def stepwise(transformer, sources, targets):
    """Logits [2, 3, 5, V] of targets fed one by one; beams grow from 1 to 3 and change places."""
    encoded = transformer.encode(*sources)
    start = torch.full((2,), transformer.start)
    hidden, cache = transformer.step(encoded, transformer.embed(start), None)
    rows = [hidden[:, None].expand(-1, 3, -1)]
    cache = branch(cache, torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1]))
    turned = [list(range(6)), [2, 0, 1, 4, 5, 3]]
    for place in range(4):
        order = turned[place % 2]  # at odd places the beams stand elsewhere
        back = torch.tensor(order).argsort()
        tokens = targets[:, :, place].reshape(-1)[order]
        hidden, cache = transformer.step(encoded, transformer.embed(tokens), cache)
        rows.append(hidden[back].view(2, 3, -1))
        cache = branch(cache, back[turned[(place + 1) % 2]], None)
    return transformer.logits(torch.stack(rows, dim=2))


@torch.inference_mode()
def whole(net, sources, targets):
    """Logits [2, 3, 5, V] of transformers' own forward pass."""
    ids, mask = (values.repeat_interleave(3, dim=0) for values in sources)
    start = torch.full((6, 1), net.config.decoder_start_token_id)
    inputs = torch.cat([start, targets.view(6, 4)], dim=1)
    return net(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs).logits.view(
        2, 3, 5, -1
    )


def test_steps_equal_the_whole_pass_of_transformers(net, sources, targets):
    expected = whole(copy.deepcopy(net), sources, targets)
    found = stepwise(Transformer(net), sources, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_decoding_whole_targets_equals_it_too(net, sources, targets):
    expected = whole(copy.deepcopy(net), sources, targets)[:, 0]
    transformer = Transformer(net)
    start = torch.full((2, 1), transformer.start)
    with torch.inference_mode():
        embeds = transformer.embed(torch.cat([start, targets[:, 0]], dim=1))
        hidden = transformer.decode(transformer.encode(*sources), embeds)
        found = transformer.logits(hidden)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_cache_can_be_branched_twice(net, sources):
    transformer = Transformer(net)
    with torch.inference_mode():
        encoded = transformer.encode(*sources)
        _, cache = transformer.step(encoded, transformer.embed(torch.tensor([0, 0])), None)
        own = torch.tensor([0, 1])
        embeds = transformer.embed(torch.tensor([7, 8]))
        first, _ = transformer.step(encoded, embeds, branch(cache, own, None))
        second, _ = transformer.step(encoded, embeds, branch(cache, own, None))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_configuration_is_kept_as_it_was(net):
    before = net.config.to_dict()
    assert Transformer(net).config.to_dict() == before


class Doubled(T5ForConditionalGeneration):
    """Does what no output matrix does: squares its logits."""

    def forward(self, *args, **kwargs):
        answer = super().forward(*args, **kwargs)
        answer.logits = answer.logits.square()
        return answer


def test_an_architecture_that_cannot_be_opened_is_refused():
    with pytest.raises(InputError, match="a Doubled decodes otherwise in steps"):
        Transformer(Doubled(T5Config(**T5)))


@pytest.mark.parametrize("wanted", [1, 300])
@pytest.mark.parametrize("bias", [None, torch.randn(500)])
def test_gathered_rows_and_the_whole_product_agree(wanted, bias):
    hidden, rows = torch.randn(2, 3, 8), torch.randn(500, 8)
    candidates = torch.randint(500, (2, 3, wanted))
    expected = hidden @ rows.T + (0 if bias is None else bias)
    found = score(hidden, rows, bias, candidates)
    torch.testing.assert_close(found, expected.gather(-1, candidates), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(score(hidden, rows, bias, None), expected, rtol=1e-5, atol=1e-5)
