"""Architectures of transformers by name: supported and refused ones."""

from types import SimpleNamespace

import pytest
import torch
from nets import BART, BERT, T5
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    BigBirdConfig,
    BigBirdModel,
    DebertaConfig,
    DebertaModel,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    FNetConfig,
    FNetModel,
    FSMTConfig,
    FSMTForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LEDConfig,
    LEDForConditionalGeneration,
    LongT5Config,
    LongT5Model,
    NllbMoeConfig,
    NllbMoeForConditionalGeneration,
    PreTrainedTokenizerFast,
    ProphetNetConfig,
    ProphetNetForConditionalGeneration,
    RobertaConfig,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    T5Model,
    ViTConfig,
    ViTModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from genir.config import validate
from genir.errors import InputError
from genir.models import encoder_tower
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.seq2seq import Seq2SeqModel, Seq2SeqOptions
from genir.models.smoke_test import SmokeTestFailed, check_encoder, compare
from genir.models.tokenization import encode_texts
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

WORDS = [Document("a", "copy a file, erase the whole directory tree of a disk. What is it?")]
TOKENIZER = train_vocabulary(WORDS, 400)
SIZE = {"vocab_size": len(TOKENIZER), "pad_token_id": 0, "eos_token_id": 1}
START = SIZE | {"decoder_start_token_id": 0}
SMALL_T5, SMALL_BART = T5 | START, BART | START
SMALL_BERT = BERT | {"hidden_size": 16, **SIZE}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 300, **SIZE}


def save(net, folder, tokenizer=TOKENIZER):
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def joined(decoder):
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**SMALL_BERT), decoder, **START
    )
    return EncoderDecoderModel(config=config)


ENCODERS = {
    "T5": lambda: T5Model(T5Config(**SMALL_T5)),
    "a whole T5": lambda: T5ForConditionalGeneration(T5Config(**SMALL_T5)),
    "LongT5, without the fused kernel": lambda: LongT5Model(LongT5Config(**SMALL_T5)),
    "BART": lambda: BartForConditionalGeneration(BartConfig(**SMALL_BART)),
    "GPT-2": lambda: GPT2Model(GPT2Config(**GPT2)),
    "BERT": lambda: BertModel(BertConfig(**SMALL_BERT)),
    "BERT's decoder": lambda: BertModel(BertConfig(**SMALL_BERT, is_decoder=True)),
    "ALBERT": lambda: AlbertModel(AlbertConfig(**SMALL_BERT, embedding_size=8)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_s_vectors_are_the_means_of_transformers_own_states(name, tmp_path, fp32):
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend_tokenizer)
    tokenizer.add_special_tokens({"eos_token": "</s>"})  # and no padding
    source = save(ENCODERS[name](), tmp_path / "source", tokenizer)
    torch.manual_seed(5)
    expected_draw = torch.rand(3)
    torch.manual_seed(5)
    encoder = TextEncoder.pretrained(source)
    assert torch.equal(torch.rand(3), expected_draw), "a trial has a separate random state"
    texts = ["copy a file", "erase", ""]
    found = encoder.embed(texts, "document")
    net = AutoModel.from_pretrained(source).eval()
    net = net.get_encoder() if hasattr(net, "decoder") else net
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor(encode_texts(encoder.tokenizer, [text], 99))
        mean = net(input_ids=ids).last_hidden_state[0].mean(dim=0).detach()
        torch.testing.assert_close(
            torch.from_numpy(vector), mean / mean.norm(), rtol=1e-4, atol=1e-5
        )
    (tmp_path / "again").mkdir()
    encoder.save(tmp_path / "again")
    encoder.tokenizer.save_pretrained(tmp_path / "again")
    again = TextEncoder.restore(tmp_path / "again", encoder.state_dict())
    again.load_state_dict(encoder.state_dict())
    assert (again.embed(texts, "document") == found).all()


def test_a_short_text_changes_nothing_of_how_long_ones_are_read(tmp_path, fp32):
    torch.manual_seed(0)
    net = BigBirdModel(BigBirdConfig(**SMALL_BERT, block_size=2, num_random_blocks=1))
    encoder = TextEncoder.pretrained(save(net, tmp_path))
    texts = ["copy a file, erase the whole directory tree of a disk " * 3]
    first = encoder.embed(texts, "document")
    encoder.embed("a", "document")
    assert (encoder.embed(texts, "document") == first).all()
    encoder.save(tmp_path)
    again = TextEncoder.restore(tmp_path, encoder.state_dict())
    again.load_state_dict(encoder.state_dict())
    assert (again.embed(texts, "document") == first).all()


def test_a_fast_path_that_differs_from_the_network_fails(tiny_encoder, monkeypatch):
    def open_otherwise(net, dtype):
        return lambda **inputs: SimpleNamespace(last_hidden_state=net(**inputs)[0].cumsum(-1))

    monkeypatch.setattr(encoder_tower, "find_encoder_converter", lambda net: open_otherwise)
    with pytest.raises(InputError, match="its fast path differs from the network itself"):
        TextEncoder.pretrained(str(tiny_encoder))


def spoiled(kind=T5Model):
    net = kind(T5Config(**SMALL_T5))
    with torch.no_grad():
        net.encoder.block[0].layer[0].SelfAttention.q.weight[0, 0] = torch.nan
    return net


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: FNetModel(FNetConfig(**SMALL_BERT)),
            "FNetModel .it encodes a text differently",
        ),
        (lambda: DebertaModel(DebertaConfig(**SMALL_BERT)), "call its DebertaModel .*BFloat16"),
        (
            lambda: ViTModel(ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)),
            "its ViTModel .it has no token embeddings",
        ),
    ],
)
def test_an_encoder_that_fails_its_trial_is_refused(build, message, tmp_path):
    source = save(build(), tmp_path)
    with pytest.raises(
        InputError, match=f"cannot load '{source}': genir cannot .*{message}.*; give 'minilm' or"
    ):
        TextEncoder.pretrained(source)


def test_sets_of_words_need_embeddings_as_wide_as_states(tmp_path):
    source = save(AlbertModel(AlbertConfig(**SMALL_BERT, embedding_size=8)), tmp_path)
    options = validate(
        EncoderHeadOptions, {"encoder": source, "length": 16, "term_set_size": 4}, ""
    )
    with pytest.raises(InputError, match=r"term_set_size = 4: .*embeddings of 8 and states"):
        EncoderHeadModel.build(options, WORDS)


PROPHET = {f"num_{half}_{part}": 2 for half in ("encoder", "decoder")
           for part in ("layers", "attention_heads")}  # fmt: skip
REFUSED = {
    "LED": (
        lambda: LEDForConditionalGeneration(
            LEDConfig(**SMALL_BART | {"max_position_embeddings": None}, attention_window=[4, 4])
        ),
        "'led' model has an encoder that takes no prepared.*; give LongT5 or BART",
    ),
    "ProphetNet": (
        lambda: ProphetNetForConditionalGeneration(
            ProphetNetConfig(**START, **PROPHET, hidden_size=16)
        ),
        "'prophetnet' model predicts several tokens ahead.*; give BART or T5",
    ),
    "FSMT": (
        lambda: FSMTForConditionalGeneration(
            FSMTConfig(langs=["en", "de"], src_vocab_size=400, tgt_vocab_size=400, d_model=16,
                       encoder_layers=1, decoder_layers=1)
        ),
        "'fsmt' model keeps its embeddings to itself; give Marian",
    ),
    "NLLB-MoE": (
        lambda: NllbMoeForConditionalGeneration(NllbMoeConfig(**SMALL_BART, num_experts=2)),
        "'nllb-moe' model has experts of limited capacity.*; give a M2M100",
    ),
    "Switch": (
        lambda: SwitchTransformersForConditionalGeneration(
            SwitchTransformersConfig(**SMALL_T5, num_experts=2)
        ),
        "'switch_transformers' model has experts of limited capacity.*; give a T5 model",
    ),
    "Whisper": (
        lambda: WhisperForConditionalGeneration(
            WhisperConfig(**SMALL_BART | {"max_position_embeddings": None})
        ),
        "'whisper' model does not read and write texts; give a T5",
    ),
    "GPT-2": (
        lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
        "GPT2LMHeadModel is not an encoder-decoder; give a T5.*; an encoder goes with",
    ),
    "BERT with RoBERTa": (
        lambda: joined(RobertaConfig(**SMALL_BERT, is_decoder=True, add_cross_attention=True)),
        "EncoderDecoderModel of BertModel and RobertaForCausalLM .*differently in steps and in one",
    ),
    "T5 without numbers": (
        lambda: spoiled(T5ForConditionalGeneration),
        "its weights have values that are not finite",
    ),
    "a start token that is none": (
        lambda: T5ForConditionalGeneration(T5Config(**SMALL_T5 | {"decoder_start_token_id": 999})),
        r"decoder_start_token_id in its config.json is 999, not one of its \d+ token embed",
    ),
    "T5 without a decoder": (
        lambda: T5EncoderModel(T5Config(**SMALL_T5)),
        "T5EncoderModel is not an encoder-decoder",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_an_encoder_decoder_that_cannot_be_used_is_refused_by_name(name, tmp_path):
    build, message = REFUSED[name]
    torch.manual_seed(0)
    source = save(build(), tmp_path)
    with pytest.raises(InputError, match=f"cannot load '{source}': .*(?:{message})"):
        Seq2SeqModel.build(Seq2SeqOptions(source=source), [])


def test_an_encoder_decoder_without_padding_token_is_padded_with_its_end(tmp_path):
    inner = train_vocabulary(WORDS, 400).backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    torch.manual_seed(0)
    source = save(BartForConditionalGeneration(BartConfig(**SMALL_BART)), tmp_path, tokenizer)
    model = Seq2SeqModel.build(Seq2SeqOptions(source=source), [])
    assert model.tokenizer.pad_token_id == model.tokenizer.eos_token_id


def test_a_trial_leaves_no_gradients_and_the_mode_as_it_was(tmp_path):
    source = save(T5ForConditionalGeneration(T5Config(**SMALL_T5)), tmp_path)
    model = Seq2SeqModel.build(Seq2SeqOptions(source=source), [])
    assert all(p.grad is None for p in model.parameters())
    mode = model.training
    model._try()
    assert model.training == mode and model.backbone.prepared_weights() == [None, None, None]


class Fixed(torch.nn.Module):
    """Reads every text as the same vector, for any weights."""

    hidden_size = 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def states(self, inputs, mask):
        return torch.ones(*inputs.shape, 4)

    def forward(self, inputs, mask, role):
        return torch.ones(len(inputs), 4) + 0 * self.weight

    reference = forward


def test_a_network_that_learns_nothing_fails():
    ones = torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(SmokeTestFailed, match=r"its training loss has no gradient"):
        check_encoder(Fixed(), ones, ones, "query")


def test_a_network_that_reads_all_texts_alike_fails():
    with pytest.raises(SmokeTestFailed, match=r"it has the same vector for different texts"):
        check_encoder(Fixed(), torch.tensor([[1, 2], [1, 3]]), torch.ones(2, 2).long(), "query")


def test_values_are_compared_on_their_own_scale():
    compare(torch.tensor([1000.0, 0.5]), torch.tensor([1000.0, 0.0]), "x")
    with pytest.raises(SmokeTestFailed, match=r"^x$"):
        compare(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.0]), "x")
    with pytest.raises(SmokeTestFailed, match=r"not finite"):
        compare(torch.tensor([1.0]), torch.tensor([torch.inf]), "x")


def test_weights_that_are_not_finite_are_named_before_the_trial(tmp_path):
    source = save(spoiled(), tmp_path)
    with pytest.raises(InputError, match="its weights have values that are not finite, in "):
        TextEncoder.pretrained(str(source))
