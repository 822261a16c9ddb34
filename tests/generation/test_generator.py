"""Sampling from tiny untrained models: a causal one by a prompt, encoder-decoders, one of ours."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from tiny import SCRATCH
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from typer.testing import CliRunner

from genir.cli import app
from genir.config import PseudoQueriesSection, validate
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.generation.generator import QueryGenerator, TopKSampler
from genir.models.seq2seq import Seq2SeqModel, Seq2SeqOptions
from genir.models.tokenizer_training import train_vocabulary
from genir.training.pipeline import TrainingJob, train
from genir.training.query_generation import GenerationRequest, generate_queries
from genir.types import Document

PROMPTS = ["copy a file", "erase the whole directory tree of a disk"]
BRIEF = {"length": 5, "top_k": 0}
WORDS = [Document("a", "copy a file, erase the whole directory tree of a disk. What is it?")]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder with an untrained GPT-2 of 80 places."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 80}
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), **sizes, bos_token_id=1, eos_token_id=1, initializer_range=0.5
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory):
    """A folder with an untrained T5."""
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    options = {name: value for name, value in SCRATCH.items() if name != "kind"}
    built = Seq2SeqModel.build(validate(Seq2SeqOptions, options, "[model]"), WORDS)
    built.backbone.restore_output_matrix().save_pretrained(folder)
    built.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["gpt2", "seq2seq"])
def writer(request):
    return QueryGenerator.open(str(request.getfixturevalue(request.param)), "cpu")


def test_a_seed_determines_the_texts_and_restores_random_state(writer):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = writer.generate(PROMPTS * 4, PseudoQueriesSection(**BRIEF), 1)
    assert torch.equal(torch.rand(2), expected)
    assert first == writer.generate(PROMPTS * 4, PseudoQueriesSection(**BRIEF), 1)
    assert first != writer.generate(PROMPTS * 4, PseudoQueriesSection(**BRIEF), 2)
    assert len(set(first)) > 4 and not any("\n" in text for text in first)


@torch.inference_mode()
def test_without_chance_the_likeliest_token_follows(writer):
    """With top_k = 1, a plain forward pass determines the text."""
    options = PseudoQueriesSection(length=2, top_k=1)
    for prompt in PROMPTS:
        ids = writer.tokenizer(prompt, return_tensors="pt")["input_ids"]
        read = {"input_ids": ids}
        if not writer.causal:
            read["decoder_input_ids"] = torch.tensor([[writer.net.config.decoder_start_token_id]])
        token = int(writer.net(**read).logits[0, -1].argmax())
        (text,) = writer.generate([prompt], options, 0)
        likeliest = writer.tokenizer.decode([token], skip_special_tokens=True).strip()
        assert text.startswith(likeliest)
    assert writer.generate(PROMPTS, options, 0) == [
        *writer.generate(PROMPTS[:1], options, 0), *writer.generate(PROMPTS[1:], options, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("top_k", [0, 3])
def test_how_a_model_would_write_by_itself_makes_no_difference(seq2seq, top_k):
    options = PseudoQueriesSection(length=5, top_k=top_k)
    plain, other = (
        QueryGenerator.open(str(seq2seq), "cpu"),
        QueryGenerator.open(str(seq2seq), "cpu"),
    )
    other.net.generation_config.update(
        num_beams=3, do_sample=not top_k, top_k=50, top_p=0.5, temperature=9.0
    )
    assert other.generate(PROMPTS * 4, options, 1) == plain.generate(PROMPTS * 4, options, 1)


OWN_SETTINGS = [
    {"max_time": 1e-5},
    {"min_length": 99, "no_repeat_ngram_size": 1},
    {"bad_words_ids": [[n] for n in range(2, 390)]},
    {"suppress_tokens": list(range(2, 390))},
    {"stop_strings": ["a"]},
    {"repetition_penalty": -1, "num_beams": 4},
    {"num_return_sequences": 3, "do_sample": True, "return_dict_in_generate": True},
    {"forced_eos_token_id": 9999999, "max_length": 1, "cache_implementation": "static"},
]


@pytest.mark.parametrize("model", ["gpt2", "seq2seq"])
@pytest.mark.parametrize("own", OWN_SETTINGS, ids=lambda own: next(iter(own)))
def test_settings_of_a_model_s_own_are_not_heeded(own, model, request, tmp_path):
    """A time limit, for example: the texts would depend on the load of the machine."""
    source = request.getfixturevalue(model)
    folder = shutil.copytree(source, tmp_path / "model")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    options = PseudoQueriesSection(length=20, top_k=5)
    found = QueryGenerator.open(str(folder), "cpu").generate(PROMPTS * 2, options, 1)
    assert found == QueryGenerator.open(str(source), "cpu").generate(PROMPTS * 2, options, 1)


@pytest.mark.parametrize("text", ["[]", "7", "{", '"x"'])
def test_a_file_of_own_settings_that_is_none_is_named(gpt2, tmp_path, text):
    folder = shutil.copytree(gpt2, tmp_path / "model")
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(InputError, match=r"its generation_config.json is not (a JSON ob|valid JS)"):
        QueryGenerator.open(str(folder), "cpu")


@pytest.mark.parametrize("value", [400_000, -1, "0", [0], True, 1.0])
@pytest.mark.parametrize(
    ("model", "file", "key"),
    [
        ("seq2seq", "config.json", "decoder_start_token_id"),
        ("seq2seq", "generation_config.json", "forced_bos_token_id"),
        ("gpt2", "generation_config.json", "forced_bos_token_id"),
    ],
)
def test_a_special_token_that_is_none_is_named(model, file, key, value, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError, match=rf"cannot load .*{key}\W.*(?s:.*)"):
        QueryGenerator.open(str(folder), "cpu")


def test_the_first_token_that_a_model_forces_is_kept(seq2seq, tmp_path):
    """The language in which mBART and M2M100 write."""
    folder = shutil.copytree(seq2seq, tmp_path / "model")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"forced_bos_token_id": 350}))
    writer = QueryGenerator.open(str(folder), "cpu")
    begins = writer.tokenizer.decode([350]).strip()
    texts = writer.generate(PROMPTS * 4, PseudoQueriesSection(**BRIEF), 1)
    assert all(text.startswith(begins) for text in texts)


@pytest.mark.parametrize("model", ["gpt2", "seq2seq"])
def test_a_model_with_tuple_outputs_is_asked_for_named_ones(model, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"return_dict": False}))
    assert (
        len(
            QueryGenerator.open(str(folder), "cpu").generate(
                PROMPTS, PseudoQueriesSection(**BRIEF), 1
            )
        )
        == 2
    )


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 3, 1.0), (0.5, 5, 0.8), (2.0, 99, 1e-6)]
)
def test_a_draw_has_the_chances_that_transformers_gives(temperature, top_k, top_p):
    torch.manual_seed(0)
    scores = torch.tensor([[0.5, -1.0, 2.0, 1.5, 0.0, 1.0]])
    warped = TemperatureLogitsWarper(temperature)(None, scores)
    warped = TopPLogitsWarper(top_p)(None, TopKLogitsWarper(top_k)(None, warped))
    drawn = TopKSampler(temperature, top_k, top_p)(None, scores.expand(20_000, -1))
    assert drawn.isfinite().sum(dim=1).eq(1).all()
    found = drawn.exp().mean(dim=0)
    torch.testing.assert_close(found, warped.softmax(dim=-1)[0], rtol=0, atol=0.015)
    assert found[warped[0].isinf()].eq(0).all()


def test_equal_prompts_are_read_once_and_go_on_apart(seq2seq):
    writer, read = QueryGenerator.open(str(seq2seq), "cpu"), []
    writer.net.get_encoder().register_forward_pre_hook(
        lambda net, args, given: read.append(len(given["attention_mask"])), with_kwargs=True
    )
    prompts = [PROMPTS[n] for n in (0, 1, 0, 0, 1)]
    sure = PseudoQueriesSection(length=5, top_k=1)
    first, second = writer.generate(PROMPTS, sure, 0)
    assert writer.generate(prompts, sure, 0) == [first, second, first, first, second]
    writer.generate(prompts, sure.model_copy(update={"noise": 0.1}), 0)
    assert read == [2, 2, 5]
    assert len(set(writer.generate([PROMPTS[0]] * 20, PseudoQueriesSection(**BRIEF), 0))) > 10


@pytest.mark.parametrize(("share", "dtype"), [(0.5, torch.bfloat16), (2.0, torch.float32)])
def test_the_precision_is_the_faster_one(gpt2, measured, share, dtype):
    measured({"writing": share})
    writer = QueryGenerator.open(str(gpt2), "cpu")
    assert writer.net.dtype == dtype
    assert writer.precision == {torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]
    assert len(writer.generate(PROMPTS, PseudoQueriesSection(**BRIEF), 1)) == 2
    assert QueryGenerator.open(str(gpt2), "cpu", "fp32").net.dtype == torch.float32


def test_noise_in_the_encoder_changes_the_texts(writer):
    prompts, sure = PROMPTS * 8, PseudoQueriesSection(length=5, top_k=1)
    plain = writer.generate(prompts, sure, 1)
    assert len(set(plain)) == 2
    noisy = writer.generate(prompts, sure.model_copy(update={"noise": 2.0}), 1)
    assert len(set(noisy)) > 2


def test_a_long_prompt_is_truncated_to_the_models_limit(gpt2):
    writer = QueryGenerator.open(str(gpt2), "cpu")
    long = " ".join(["copy a file"] * 40) + " What is it?"
    assert len(writer.generate([long], PseudoQueriesSection(length=20), 0)) == 1
    end = writer.generate(["What is it?"], PseudoQueriesSection(length=20, top_k=1), 0)
    assert writer.tokenizer.truncation_side == "left" and len(end) == 1


def test_an_encoder_is_given_no_more_than_it_has_places_for():
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = {"d_model": 16, "max_position_embeddings": 16, "vocab_size": len(tokenizer)} | {
        f"{half}_{size}": number
        for half in ("encoder", "decoder")
        for size, number in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    writer = QueryGenerator(BartForConditionalGeneration(BartConfig(**sizes)), tokenizer)
    long = " ".join(["copy a file"] * 40)
    assert len(tokenizer(long)["input_ids"]) > 16
    assert len(writer.generate([long, "copy"], PseudoQueriesSection(length=4), 0)) == 2


def test_an_unloadable_model_is_named():
    with pytest.raises(InputError, match="cannot load '/not/there/model'"):
        QueryGenerator.open("/not/there/model", "cpu")


def small_bert(folder, net):
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(tokenizer), intermediate_size=16, **sizes, initializer_range=0.5
    )
    torch.manual_seed(0)
    net(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (BertForMaskedLM, "cannot use its BertLMHeadModel .its logits depend on later tokens"),
        (BertModel, "weights lack cls.predictions.*and [0-9] more, which would be initialised"),
    ],
)
def test_an_encoder_is_no_writer(net, message, tmp_path):
    small_bert(tmp_path, net)
    with pytest.raises(InputError, match=f"cannot load '{tmp_path}': .*{message}"):
        QueryGenerator.open(str(tmp_path), "cpu")


def test_a_causal_model_without_padding_token_writes(tmp_path):
    inner = train_vocabulary(WORDS, 400).backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 80}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    writer = QueryGenerator.open(str(tmp_path), "cpu")
    assert len(writer.generate([*PROMPTS, "a"], PseudoQueriesSection(**BRIEF), 0)) == 3
    GPT2LMHeadModel(GPT2Config(vocab_size=99, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"tokens .*beyond the 99 embeddings"):
        QueryGenerator.open(str(tmp_path), "cpu")


def test_queries_longer_than_a_model_has_positions_are_refused(gpt2):
    causal = QueryGenerator.open(str(gpt2), "cpu")
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = {"d_model": 16, "encoder_layers": 0, "decoder_layers": 0, "vocab_size": 400}
    config = BartConfig(**sizes, max_position_embeddings=80)
    for writer in (causal, QueryGenerator(BartForConditionalGeneration(config), tokenizer)):
        with pytest.raises(
            InputError, match=r"\[pseudo_queries\] length = 80: the model has 80 positions"
        ):
            writer.generate(PROMPTS, PseudoQueriesSection(length=80), 0)


def test_positions_of_a_roberta_begin_behind_its_padding():
    tokenizer = train_vocabulary(WORDS, 400)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 16}  # fmt: skip
    halves = EncoderDecoderConfig.from_encoder_decoder_configs(
        RobertaConfig(**sizes, max_position_embeddings=20, pad_token_id=1),
        BertConfig(**sizes, is_decoder=True, add_cross_attention=True),
        decoder_start_token_id=0, pad_token_id=0,
    )  # fmt: skip
    writer = QueryGenerator(EncoderDecoderModel(config=halves), tokenizer)
    assert writer._room(5) == 18
    assert (
        len(writer.generate([" ".join(["copy a file"] * 40)], PseudoQueriesSection(length=4), 0))
        == 1
    )


# --- the command ---------------------------------------------------------------------------------

RECIPE = """
name = "writer"
[identifiers]
scheme = "passage"
words = 2
[[tasks]]
task = "write-queries"
[model]
{model}
[training]
max_steps = {steps}
batch_size = 16
learning_rate = 0.02
head_learning_rate = 0.02
source_length = 24
dev_queries = 0
num_dev_evals = 1
[decoding]
strategy = "{mode}"
"""


@pytest.fixture
def recipe(tmp_path):
    def make(steps=2, mode="text", **changes):
        model = "\n".join(f"{k} = {json.dumps(v)}" for k, v in (SCRATCH | changes).items())
        path = tmp_path / f"writer-{mode}.toml"
        path.write_text(RECIPE.format(model=model, steps=steps, mode=mode))
        return path

    return make


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_generator_is_trained_and_writes_for_every_document(tiny_corpus, tmp_path, recipe):
    command = ["generate-queries", str(tiny_corpus), "--out", str(tmp_path / "made.jsonl")]
    command += ["--model", str(recipe()), "--set", "count=3", "--set", "length=6"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    made = lines_of(tmp_path / "made.jsonl")
    order = [document.key for document in read_corpus(tiny_corpus)]
    assert {line["document"] for line in made} == set(order)
    assert sorted(made, key=lambda line: order.index(line["document"])) == made
    assert 40 < len(made) <= 120 and all(line["text"].strip() for line in made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.jsonl", "writer-text.toml"]


def test_a_trained_model_folder_writes_and_finds_nothing(tiny_corpus, tmp_path, recipe):
    steps = recipe(60, width=32, feedforward=64)
    trained = train(TrainingJob(str(steps), tiny_corpus, tmp_path / "model"))
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["dev"]["questions"] == 0
    assert "It writes queries" in (tmp_path / "model" / "MODEL_CARD.md").read_text()
    with pytest.raises(InputError, match="generates text, not documents"):
        trained.search(["copy"], 1)
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", str(tmp_path / "model"))
    generate_queries(request)
    words = {word for line in lines_of(request.out) for word in line["text"].split()}
    assert {"how", "do", "i", "my"} & words  # it has begun to write as people ask
    with pytest.raises(InputError, match=r"made.jsonl: exists already; choose another --out"):
        generate_queries(request)


def test_a_model_that_finds_documents_writes_no_queries(tiny_corpus, tmp_path, recipe):
    train(TrainingJob(str(recipe(mode="beam")), tiny_corpus, tmp_path / "model"))
    with pytest.raises(InputError, match="finds documents, but generates no queries"):
        QueryGenerator.open(str(tmp_path / "model"), "cpu")
    made = tmp_path / "made.jsonl"
    with pytest.raises(InputError, match="is a file of queries; name a model"):
        generate_queries(GenerationRequest(tiny_corpus, made, "other.jsonl"))


@pytest.mark.parametrize("name", ["made.jsonl.part", "made.jsonl"])
@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True, "overwrite": True}])
def test_an_output_that_cannot_be_written_is_named_before_any_work(
    tiny_corpus, tmp_path, name, how
):
    (tmp_path / name).mkdir()
    request = GenerationRequest(
        tiny_corpus, tmp_path / "made.jsonl", "absent-model-is-loaded", **how
    )
    with pytest.raises(InputError, match=rf"^{tmp_path / name}: is a folder; name a file"):
        generate_queries(request)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["made.jsonl.generator", "made.jsonl.generator.training"])
def test_a_file_in_the_generator_s_place_is_named(tiny_corpus, tmp_path, recipe, name):
    (tmp_path / name).write_text("mine")
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", str(recipe()), overwrite=True)
    with pytest.raises(InputError, match=rf"{name}"):
        generate_queries(request)
    assert (tmp_path / name).read_text() == "mine"


def test_the_output_is_no_input(tiny_corpus):
    request = GenerationRequest(
        tiny_corpus, tiny_corpus / "queries.jsonl", "minilm", overwrite=True
    )
    with pytest.raises(InputError, match=r"CORPUS's queries.jsonl and --out are both"):
        generate_queries(request)
    assert "train-0-0" in (tiny_corpus / "queries.jsonl").read_text()


def test_an_interrupted_replacement_is_continued(tiny_corpus, tmp_path, gpt2):
    settings = ["count=1", "length=4", "batch_size=10"]
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", str(gpt2), settings=settings)
    generate_queries(request)
    whole = request.out.read_bytes()
    request.out.write_text("the old queries")
    real, batches = QueryGenerator.generate, []

    def write(self, *arguments):
        batches.append(None)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QueryGenerator, "generate", write)
        with pytest.raises(KeyboardInterrupt):
            generate_queries(replace(request, overwrite=True))
        assert request.out.read_text() == "the old queries"
        generate_queries(replace(request, overwrite=True, resume=True))
    assert request.out.read_bytes() == whole and len(batches) == 5


def test_a_prompt_for_a_causal_model_comes_from_the_settings(tiny_corpus, tmp_path, gpt2):
    settings = ["prompt='{title}: {text} What is it?'", "count=2", "length=4"]
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", str(gpt2), settings=settings)
    generate_queries(request)
    assert len({line["document"] for line in lines_of(request.out)}) > 30


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (0, r"model_max_length = 0 in tokenizer_config\.json; set it to the model's maximum"),
        (-3, r"model_max_length = -3 in tokenizer_config\.json; set it to the model's maximum"),
    ],
)
def test_a_limit_of_the_tokenizer_that_is_none_is_named(gpt2, tmp_path, limit, message):
    folder = shutil.copytree(gpt2, tmp_path / "writer")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": limit}))
    with pytest.raises(InputError, match=message):
        QueryGenerator.open(str(folder), "cpu")


@pytest.mark.parametrize("again", ["overwrite", "resume"])
def test_a_generator_of_the_user_is_kept(tiny_corpus, tmp_path, gpt2, again):
    settings = ["count=1", "length=3"]
    own = shutil.copytree(gpt2, tmp_path / "made.jsonl.generator")
    notes = tmp_path / "made.jsonl.generator.training" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", str(own), settings=settings)
    generate_queries(replace(request, **{again: True}))
    assert len(lines_of(request.out)) == 40
    assert {path.name for path in own.iterdir()} == {path.name for path in gpt2.iterdir()}
    assert notes.read_text() == "mine"


@pytest.mark.parametrize("name", ["made.jsonl.generator", "made.jsonl.generator.training"])
def test_a_folder_with_the_name_of_the_generator_is_kept(tiny_corpus, tmp_path, name):
    notes = tmp_path / name / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    made = tmp_path / "made.jsonl"
    with pytest.raises(InputError, match=rf"{name}.*(is not|was not written)"):
        generate_queries(GenerationRequest(tiny_corpus, made, "query-generator", overwrite=True))
    assert notes.read_text() == "mine"


def test_a_generator_does_not_replace_its_queries(tiny_corpus, tmp_path):
    inside = tmp_path / "made.jsonl.generator.training" / "pseudo.jsonl"
    inside.parent.mkdir()
    shutil.copy(tiny_corpus / "queries.jsonl", inside)
    request = GenerationRequest(tiny_corpus, tmp_path / "made.jsonl", "query-generator", inside,
                      tiny_corpus / "qrels" / "train.tsv", overwrite=True)  # fmt: skip
    with pytest.raises(InputError, match=r"--queries: .* would be removed when the generator"):
        generate_queries(request)
    assert inside.is_file()
