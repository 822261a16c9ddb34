"""Folders that other programs wrote: each fault is named before anything is computed."""

import json
import shutil

import pytest
import torch
from nets import BART, T5
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from genir.errors import InputError
from genir.models.checkpoint_checks import (
    add_padding,
    check_files,
    check_vocabulary,
    refuse_on_error,
)
from genir.models.encoder import TextEncoder
from genir.models.pretrained import Seq2SeqOptions, load_seq2seq
from genir.models.tokenization import encode_texts
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

WORDS = [Document("a", "copy a file, erase the whole directory tree of a disk. What is it?")]


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    """A copy of the tiny BERT's folder, to be damaged."""
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


def configure(**values):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def rename_weights(name):
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def touch(name, text="{}"):
    return lambda folder: (folder / name).write_text(text)


def nest(folder):
    touch("modules.json", '[{"path": "0_Transformer"}]')(folder)
    (folder / "config.json").unlink()


def make_adapter(folder):
    touch("adapter_config.json")(folder)
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            configure(quantization_config={"quant_method": "gptq"}),
            r"quantised \(gptq\); genir needs",
        ),
        (
            configure(model_type="own", auto_map={"AutoModel": "m.M"}),
            "'own' needs its own code",
        ),
        (configure(model_type="nllb-moe"), "experts of limited capacity.*give a M2M100"),
        (configure(num_hidden_layers=2), "weights lack encoder.layer.1.*and 15 more.*at random"),
        (
            configure(num_hidden_layers=0),
            "weights have encoder.layer.0.*its config.json does not define",
        ),
        (
            configure(intermediate_size=24),
            r"weights hold \[16\] for encoder.layer.0.*bias and 2 more, but its config.json states "
            r"\[24\]; give it the config.json that belongs",
        ),
        (
            configure(vocab_size=10),
            r"weights hold .* for embeddings.word_.*states \[10, 16\]; give",
        ),
        (configure(num_hidden_layers=1_000_000), "states more than the 23 tensors in model.safe"),
        (configure(vocab_size=10**9), r"states a weight of \[1000000000, 16\], more than"),
        (
            rename_weights("pytorch_model.bin"),
            "only in pytorch_model.bin, a format that can run code",
        ),
        (rename_weights("model.gguf"), r"no model.safetensors, only model.gguf; give"),
        (touch("config.json", "{"), "config.json is not valid JSON"),
        (touch("config.json", "7"), "config.json is not a JSON object"),
        (touch("config.json", "[" * 100_000), "config.json is not valid JSON"),
        (
            touch("config.json", '{"model_type": ["bert"]}'),
            "model_type .'bert'., not a name",
        ),
        (
            configure(hidden_size="16"),
            "its config.json: .*'hidden_size'.* got",
        ),
        (touch("tokenizer.json", "[]"), "its tokenizer: "),
        (touch("modules.json", "{}"), "modules.json is not a JSON list"),
        (touch("modules.json", "[7]"), "modules.json is not a list of JSON objects"),
        (
            touch("config_sentence_transformers.json", "[]"),
            "transformers.json is not a JSON object",
        ),
        (touch("manifest.json"), r"model folder of genir; name it in \[model\] init_from"),
        (make_adapter, r"an adapter \(PEFT\) without its base model; merge"),
    ],
)
def test_a_fault_of_a_folder_is_named(damage, message, folder):
    damage(folder)
    with pytest.raises(InputError, match=f"cannot load '{folder}': .*{message}"):
        TextEncoder.pretrained(str(folder))


def test_the_folder_of_the_transformer_is_named_where_one_network_is_read(folder):
    nest(folder)
    with pytest.raises(InputError, match=r"its transformer is in 0_Transformer; give '.*0_Trans"):
        check_files(str(folder))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "it is empty; give 'minilm'"),
        ("./absent", "there is no such folder; give 'minilm'"),
        ("a/b/c", "there is no such folder"),
        ("~/models/bert", "there is no such folder"),
        ("encoder/model.safetensors", "it is a file; give 'minilm'"),
    ],
)
def test_a_path_without_a_folder_is_no_hub_name(name, message, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(InputError, match=f"cannot load '{name}': {message}"):
        check_files(name)


def test_code_beside_a_known_architecture_is_not_run(folder):
    configure(auto_map={"AutoModel": "evil.Model"})(folder)
    touch("evil.py", "raise SystemExit('was run')")(folder)
    assert isinstance(TextEncoder.pretrained(str(folder)).backbone, BertModel)


def test_weights_are_read_as_float32_from_whole_or_parted_files_with_or_without_heads(folder, fp32):
    expected = TextEncoder.pretrained(str(folder)).embed(["copy a file"], "document")
    whole = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="5KB")
    assert (folder / "model.safetensors.index.json").is_file()
    assert (
        TextEncoder.pretrained(str(folder)).embed(["copy a file"], "document") == expected
    ).all()
    for part in folder.glob("*.safetensors*"):
        part.unlink()
    heads = BertForMaskedLM(whole.config)  # has no pooler, and a head
    heads.bert.load_state_dict(whole.state_dict(), strict=False)
    heads.save_pretrained(folder)
    assert (
        TextEncoder.pretrained(str(folder)).embed(["copy a file"], "document") == expected
    ).all()
    weights = load_file(folder / "model.safetensors")
    halves = {name: value.to(torch.float16) for name, value in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    rough = TextEncoder.pretrained(str(folder))
    assert {p.dtype for p in rough.parameters()} == {torch.float32}
    assert 0 < abs(rough.embed(["copy a file"], "document") - expected).max() < 1e-3


def test_positions_that_are_computed_need_no_weights(tmp_path):
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = BART | {"vocab_size": len(tokenizer), "decoder_start_token_id": 0}
    config = PegasusConfig(**sizes, pad_token_id=0, eos_token_id=1)
    PegasusForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = AutoModel.from_pretrained(tmp_path).encoder.embed_positions.weight
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "embed_positions" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    origin = load_seq2seq(Seq2SeqOptions(source=str(tmp_path)), [])
    assert torch.equal(origin.net.get_encoder().embed_positions.weight, expected)


def test_an_encoder_without_its_decoder_is_whole(tmp_path, fp32):
    tokenizer = train_vocabulary(WORDS, 400)
    torch.manual_seed(0)
    net = T5EncoderModel(T5Config(**T5 | {"vocab_size": len(tokenizer)})).eval()
    net.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    vector = TextEncoder.pretrained(str(tmp_path)).embed(["copy a file"], "document")[0]
    ids = torch.tensor(encode_texts(tokenizer, ["copy a file"], 99))
    mean = net(input_ids=ids).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(torch.from_numpy(vector), (mean / mean.norm()).detach())


def bare(**special):
    inner = train_vocabulary(WORDS, 400).backend_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def test_padding_is_the_end_or_another_special_token_and_never_a_word():
    tokenizer = bare(eos_token="</s>", unk_token="<unk>")
    add_padding(tokenizer, "x")
    assert tokenizer.pad_token == "</s>"
    tokenizer = bare(unk_token="<unk>")
    add_padding(tokenizer, "x")
    assert tokenizer.pad_token == "<unk>"
    with pytest.raises(InputError, match=r"'x': its tokenizer has no padding.*; add pad_token to"):
        add_padding(bare(), "x")


def test_tokens_without_embeddings_are_named():
    tokenizer = train_vocabulary(WORDS, 400)
    check_vocabulary(tokenizer, len(tokenizer), "x")
    with pytest.raises(
        InputError, match=f"'x': its tokenizer has 3 tokens .*{len(tokenizer) - 3} emb"
    ):
        check_vocabulary(tokenizer, len(tokenizer) - 3, "x")


def test_a_text_without_tokens_is_read_as_padding():
    tokenizer = bare(pad_token="<pad>")
    tokenizer.backend_tokenizer.post_processor = None
    assert encode_texts(tokenizer, ["", "copy"], 9)[0] == [tokenizer.pad_token_id]


def test_an_encoder_smaller_than_its_tokenizer_is_refused(folder):
    config = BertConfig.from_pretrained(folder, vocab_size=50)
    BertModel(config).save_pretrained(folder)
    with pytest.raises(InputError, match=r"tokens .*beyond the 50 embeddings of its weights; give"):
        TextEncoder.pretrained(str(folder))


def test_errors_of_third_party_code_name_the_model():
    for error in (KeyError("router_logits"), AttributeError("absent"), ZeroDivisionError()):
        with (
            pytest.raises(InputError, match=r"'x': genir cannot call its Net .*; take y"),
            refuse_on_error("x", "Net", "take y"),
        ):
            raise error
    with pytest.raises(InputError, match=r"^mine$"), refuse_on_error("x", "Net", "take y"):
        raise InputError("mine")
    with pytest.raises(MemoryError), refuse_on_error("x", "Net", "take y"):
        raise MemoryError


def test_a_tokenizer_of_its_own_folder_is_not_changed(folder):
    before = AutoTokenizer.from_pretrained(folder).get_vocab()
    assert TextEncoder.pretrained(str(folder)).tokenizer.get_vocab() == before


def test_a_maximal_length_that_is_a_text_is_named(folder):
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | {"model_max_length": "8"}))
    with pytest.raises(InputError, match="model_max_length = '8' is not a number"):
        TextEncoder.pretrained(str(folder), 16)


@pytest.mark.parametrize("value", [999, -1, "0", [0], True, None])
def test_the_token_that_a_decoder_starts_with_is_named(value, tmp_path):
    tokenizer = train_vocabulary(WORDS, 400)
    T5ForConditionalGeneration(
        T5Config(**T5 | {"vocab_size": len(tokenizer), "decoder_start_token_id": 0})
    ).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    configure(decoder_start_token_id=value)(tmp_path)
    with pytest.raises(InputError, match="decoder_start_token_id"):
        load_seq2seq(Seq2SeqOptions(source=str(tmp_path)), WORDS)


def test_an_encoder_with_tuple_outputs_is_asked_for_named_ones(folder, fp32):
    before = TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document")
    configure(return_dict=False)(folder)
    assert (TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document") == before).all()
