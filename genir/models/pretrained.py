"""Sources of a seq2seq model: two MiniLM encoders, from scratch, a folder or the hub.

Each returns a transformers encoder-decoder, its tokenizer with end and padding tokens, and the
parameters without pre-training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    EncoderDecoderModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from genir.config import StrictModel
from genir.errors import InputError
from genir.models.checkpoint_checks import (
    add_padding,
    check_files,
    check_token,
    check_vocabulary,
    refuse_on_error,
    unsupported_error,
)
from genir.models.network_loading import MINILM, load_network, load_pretrained, silence_transformers
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

SOURCE_HINT = "give a T5, mT5, UMT5, BART, mBART, Pegasus, Marian, M2M100 or T5Gemma model"
UNSUPPORTED_FAMILIES = {
    "led": ("has an encoder that takes no prepared attention mask", "LongT5 or BART"),
    "prophetnet": ("predicts several tokens ahead in separate streams", "BART or T5"),
    "fsmt": ("keeps its embeddings to itself", "Marian or M2M100"),
}
"""Encoder-decoders that are not supported: reason, and alternative."""
NEVER = -1e4
"""Bias of a token that is not generated: exp(NEVER) is 0, and label smoothing stays finite."""
START_TOKEN = "decoder_start_token_id in its config.json"
EOS_INIT_SCALE = 0.1
"""Scale of the initial transform, small enough for a nearly linear activation: MiniLM's last states
have entries of about 0.4."""


class Seq2SeqOptions(StrictModel):
    """Options of `[model]` for kind "seq2seq".

    source: "minilm2minilm", "scratch", a local folder or a hub name. warm_start: whether the new
    parts of "minilm2minilm" start from existing weights or at random. encoder: embeds the documents
    if codes are fitted on vectors. head: symbols of codes, "tied" (input and output share them) or
    "inner-product" (RIPOR: output rows are the codewords of codes fitted on the model's own
    vectors) or "pawa" (NCI: the output rows depend on the prefix). The other options are for a
    model from scratch.
    """

    source: str = "minilm2minilm"
    warm_start: bool = False
    encoder: str = MINILM
    head: Literal["tied", "inner-product", "pawa"] = "tied"
    vocabulary_size: int = Field(default=8000, ge=400)
    layers: int = Field(default=4, ge=1)
    width: int = Field(default=256, ge=8)
    heads: int = Field(default=4, ge=1)
    feedforward: int = Field(default=1024, ge=8)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def weights(self) -> list[str]:
        """Return the names of the pre-trained networks."""
        source = {"scratch": [], "minilm2minilm": [MINILM]}.get(self.source, [self.source])
        return [self.encoder, *source]

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, info: Any) -> int:
        if info.data.get("width", heads) % heads:
            raise ValueError(f"must divide width = {info.data['width']}")
        return heads


@dataclass(frozen=True)
class PretrainedSeq2Seq:
    """A model before training.

    newly_initialised: parameters without pre-training. is_external: whether genir has not been
    tested with it.
    """

    net: Any
    tokenizer: Any
    newly_initialised: list[nn.Parameter]
    is_external: bool = False


def load_seq2seq(options: Seq2SeqOptions, corpus: Sequence[Document]) -> PretrainedSeq2Seq:
    """Load or create the network of `options.source`.

    Raises:
        InputError: The network cannot be found, is not an encoder-decoder, or lacks a start or end
            token.
    """
    if options.source == "scratch":
        return _from_scratch(options, corpus)
    if options.source == "minilm2minilm":
        return _from_encoder_and_decoder(options.warm_start)
    return _pretrained(options.source)


def _from_scratch(options: Seq2SeqOptions, corpus: Sequence[Document]) -> PretrainedSeq2Seq:
    """Create a T5 v1.1 (gated feed-forward) with tied input and output embeddings."""
    tokenizer = train_vocabulary(corpus, options.vocabulary_size)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=options.width,
        d_kv=options.width // options.heads,
        d_ff=options.feedforward,
        num_layers=options.layers,
        num_heads=options.heads,
        dropout_rate=options.dropout,
        feed_forward_proj="gated-gelu",
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    net = T5ForConditionalGeneration(config)
    return PretrainedSeq2Seq(net, tokenizer, list(net.parameters()))


def _from_encoder_and_decoder(warm: bool) -> PretrainedSeq2Seq:
    """Build an encoder-decoder from two MiniLMs; cross-attention and output transform are new."""
    tokenizer = load_pretrained(AutoTokenizer, MINILM)
    tokenizer.eos_token = tokenizer.sep_token
    with silence_transformers():
        encoder = load_pretrained(AutoModel, MINILM, dtype=torch.float32)
        decoder, report = load_pretrained(
            AutoModelForCausalLM,
            MINILM,
            dtype=torch.float32,
            is_decoder=True,
            add_cross_attention=True,
            output_loading_info=True,
        )
    net = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for settings in (net.config, net.generation_config):
        settings.decoder_start_token_id = tokenizer.cls_token_id
        settings.eos_token_id = tokenizer.sep_token_id
        settings.pad_token_id = tokenizer.pad_token_id
    if warm:
        _warm_decoder(decoder)
    missing = report["missing_keys"]
    return PretrainedSeq2Seq(
        net, tokenizer, [p for n, p in decoder.named_parameters() if n in missing]
    )


@torch.no_grad()
def _warm_decoder(decoder: Any) -> None:
    """Initialise cross-attention from self-attention, and the output transform as identity.

    The last state of a MiniLM token is closest to the token's embedding, so with an identity
    transform the decoder copies its input words. The transform has an activation before its layer
    norm: for small inputs it halves them, and the layer norm restores the scale.
    """
    for layer in decoder.base_model.encoder.layer:
        layer.crossattention.load_state_dict(layer.attention.state_dict())
    dense = decoder.cls.predictions.transform.dense
    nn.init.eye_(dense.weight).mul_(EOS_INIT_SCALE)
    nn.init.zeros_(dense.bias)


def _pretrained(source: str) -> PretrainedSeq2Seq:
    check_files(source)
    config = load_pretrained(AutoConfig, source)
    require_supported_family(source, config)
    tokenizer = load_pretrained(AutoTokenizer, source)
    net = load_network(AutoModelForSeq2SeqLM, source)
    add_padding(tokenizer, source)
    known = {
        START_TOKEN: net.config.decoder_start_token_id,
        "eos_token in its tokenizer_config.json": tokenizer.eos_token_id,
    }
    for setting, value in known.items():
        if value is None:
            raise InputError(f"{source!r} has no {setting}; add one, or take another model.source")
    with refuse_on_error(source, name_network(net), SOURCE_HINT):
        _cover_vocabulary(net, tokenizer)
        rows = [net.get_input_embeddings(), net.get_decoder().get_input_embeddings()]
        smallest = min(len(each.weight) for each in (*rows, net.get_output_embeddings()))
        check_vocabulary(tokenizer, smallest, source)
        check_token(source, START_TOKEN, net.config.decoder_start_token_id, smallest)
    return PretrainedSeq2Seq(net, tokenizer, [], is_external=True)


def _cover_vocabulary(net: Any, tokenizer: Any) -> None:
    """Add embeddings for tokens beyond those of a BART, as GENRE's, whose weights lack `<mask>`.

    They are read as the unknown token and are never generated, so all probabilities are unchanged.
    """
    rows, unknown = len(net.get_input_embeddings().weight), tokenizer.unk_token_id
    bias = getattr(net, "final_logits_bias", None)
    if len(tokenizer) <= rows or bias is None or unknown is None or unknown >= rows:
        return
    net.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        net.get_input_embeddings().weight[rows:] = net.get_input_embeddings().weight[unknown]
        net.final_logits_bias[:, rows:] = NEVER


def untie_output(net: Any, weights: Mapping[str, Tensor]) -> None:
    """Give a network its own output matrix if the weights have one beside the embeddings.

    transformers builds every T5 with tied matrices, and unties them where it reads both (DDRO).
    """
    output = net.get_output_embeddings()
    names = {
        f"backbone.net.{name}"
        for name, parameter in net.named_parameters(remove_duplicate=False)
        if parameter is output.weight
    }
    if len((names | {"backbone.output.weight"}) & weights.keys()) > 1:
        output.weight = nn.Parameter(output.weight.detach().clone())


def name_network(net: Any) -> str:
    """Return the class name of a network, including encoder and decoder if it joins two."""
    name = type(net).__name__
    if isinstance(net, EncoderDecoderModel):
        name += f" of {type(net.encoder).__name__} and {type(net.decoder).__name__}"
    return name


def require_supported_family(source: str, config: Any) -> None:
    """Raise InputError for a model that is not a supported text encoder-decoder."""
    kind = config.model_type
    if not config.is_encoder_decoder:
        name = (config.architectures or [f"{kind!r} model"])[0]
        raise unsupported_error(
            source, f"a {name} is not an encoder-decoder",
            f"{SOURCE_HINT}; an encoder goes with [model] kind = 'encoder-head' and encoder",
        )  # fmt: skip
    if kind in UNSUPPORTED_FAMILIES:
        raise unsupported_error(
            source,
            f"a {kind!r} model {UNSUPPORTED_FAMILIES[kind][0]}",
            f"give {UNSUPPORTED_FAMILIES[kind][1]}",
        )
    if kind not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise unsupported_error(
            source, f"a {kind!r} model does not read and write texts", SOURCE_HINT
        )
