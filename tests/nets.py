"""Tiny encoder-decoders of every family, and transformers' own scores of a target."""

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    MBartConfig,
    MBartForConditionalGeneration,
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

VOCABULARY = 40
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4} | {
    "vocab_size": VOCABULARY,
    "decoder_start_token_id": 0,
    # Few positions, so that the targets of the tests reach the last one.
    "relative_attention_num_buckets": 6,
    "relative_attention_max_distance": 7,
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


def bert2bert(width):
    """Different widths of encoder and decoder make transformers project between them."""
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**BERT, hidden_size=16),
        BertConfig(**BERT, hidden_size=width, is_decoder=True, add_cross_attention=True),
        decoder_start_token_id=2,
        pad_token_id=0,
    )
    return EncoderDecoderModel(config=config)


def t5gemma():
    halves = {half: T5GemmaModuleConfig(**GEMMA) for half in ("encoder", "decoder")}
    config = T5GemmaConfig(**halves, vocab_size=VOCABULARY, decoder_start_token_id=2)
    return T5GemmaForConditionalGeneration(config)


FAST = {
    "T5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "T5 v1.1": lambda: T5ForConditionalGeneration(
        T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "mT5": lambda: MT5ForConditionalGeneration(MT5Config(**T5)),
    "BART": lambda: BartForConditionalGeneration(BartConfig(**BART, scale_embedding=True)),
    "mBART": lambda: MBartForConditionalGeneration(
        MBartConfig(**BART, activation_function="relu", decoder_start_token_id=2)
    ),
    "BERT2BERT": lambda: bert2bert(16),
    "BERT2BERT, unlike halves": lambda: bert2bert(24),
}
GENERAL = {
    "Pegasus": lambda: PegasusForConditionalGeneration(PegasusConfig(**BART, scale_embedding=True)),
    "T5Gemma": t5gemma,
}


def make(name):
    """Return a net without zero biases, so that a forgotten bias is detected."""
    torch.manual_seed(0)
    net = (FAST | GENERAL)[name]().eval()
    for values in (*net.parameters(), getattr(net, "final_logits_bias", torch.empty(1))):
        if values.numel() and (values.dim() == 1 or values.shape[0] == 1):
            torch.nn.init.normal_(values, std=0.5)
    return net


@torch.inference_mode()
def whole(net, sources, targets):
    """Logits [N, T + 1, V] of transformers' own forward pass, one target per source."""
    start = torch.full((len(targets), 1), net.config.decoder_start_token_id)
    inputs = torch.cat([start, targets], dim=1)
    ids, mask = sources
    return net(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs).logits
