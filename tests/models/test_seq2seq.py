"""The seq2seq model: its loss against the decoding protocol, its symbols, its folder."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, BartConfig, BartForConditionalGeneration

from genir.config import validate
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch
from genir.models.engine.hf_decoder import HFDecoder
from genir.models.network_loading import MINILM_PACKAGE
from genir.models.seq2seq import Seq2SeqModel, Seq2SeqOptions
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

WORDS = ["create", "extract", "archive", "list", "files", "text"]
CORPUS = [Document(f"{a} {b}", f"{a} the {b}", f"{a} {b}") for a in WORDS for b in WORDS]
SCRATCH = {"source": "scratch", "vocabulary_size": 420, "width": 16, "heads": 2} | {
    "layers": 1,
    "feedforward": 32,
    "dropout": 0.0,
}
SIZES = [3, 4, 2]


class Levels(Scheme):
    """As much of a scheme as a model looks at."""

    name = "levels"

    def __init__(self, sizes, text=False):
        self.sizes = sizes
        self.needs_tokenizer = text

    def level_sizes(self):
        return self.sizes

    fit = encode = to_text = save = load = None


Levels.__abstractmethods__ = frozenset()
TABLE = IdentifierTable.build([[(0, 3, 1)], [(2, 0, 0)], [(2, 1, 1)]], ["a", "b", "c"])


def build(**options):
    torch.manual_seed(0)
    options = validate(Seq2SeqOptions, SCRATCH | options, "[model]")
    return Seq2SeqModel.build(options, CORPUS)


@pytest.fixture
def codes():
    model = build()
    model.build_head(Levels(SIZES), TABLE, None)
    return model.eval()


@pytest.fixture
def text():
    model = build()
    model.build_head(Levels([len(model.tokenizer)], text=True), TABLE, None)
    return model.eval()


def inputs(model, *texts):
    tokens = model.tokenizer(list(texts), padding=True, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"]


def written(model, *texts):
    return model.tokenizer(list(texts))["input_ids"]


def batch_of(model, targets, rows, weights=(1.0, 3.0)):
    length = max(map(len, targets))
    padded = torch.tensor([[*target, *[-1] * (length - len(target))] for target in targets])
    ids, mask = inputs(model, "extract archive", "list the text files")
    return Batch(ids, mask, padded, torch.tensor(rows), torch.tensor(weights))


def log_probabilities(model, batch):
    """log p of each target symbol, [B, T], through the decoding protocol."""
    steps = []
    state, (parents, symbols) = model.encode(batch.input_ids, batch.attention_mask), (None, None)
    for depth, taken in enumerate(batch.targets.clamp(min=0).T[:, :, None]):
        state, hidden = model.step(state, parents, symbols)
        logits = model.logits(hidden, depth, taken[:, None])[..., 0]
        steps.append(logits - model.log_normaliser(hidden, depth))
        parents, symbols = torch.zeros_like(taken), taken
    return torch.cat(steps, dim=1)


def test_loss_over_codes_equals_decoding_scores(codes):
    batch = batch_of(codes, [(0, 3, 1), (2, 1)], [0, 2])
    with torch.no_grad():
        scores = log_probabilities(codes, batch)
        # Weights 1 and 3; three symbols of the first target, two of the second.
        expected = -(scores[0].sum() + 3 * scores[1, :2].sum()) / (3 + 3 * 2)
        torch.testing.assert_close(codes.loss(batch, 0.0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["text", "codes"])
def test_loss_over_text_is_the_vocabulary_s_cross_entropy(model, request):
    model = request.getfixturevalue(model)
    targets = written(model, "extract files", "list")
    batch = batch_of(model, targets, [-1, -1])
    start = torch.full((2, 1), model.backbone.start)
    before = torch.cat([start, batch.targets[:, :-1].clamp(min=0)], dim=1)
    with torch.no_grad():
        net = model.backbone.net
        hidden = net(batch.input_ids, batch.attention_mask, decoder_input_ids=before).logits
        logits = hidden @ net.get_input_embeddings().weight.T
        scores = logits.log_softmax(dim=-1).gather(-1, batch.targets.clamp(min=0)[..., None])[
            ..., 0
        ]
        n, m = map(len, targets)
        expected = -(scores[0, :n].sum() + 3 * scores[1, :m].sum()) / (n + 3 * m)
        torch.testing.assert_close(model.loss(batch, 0.0), expected, rtol=1e-4, atol=1e-4)
        if model.text:
            again = log_probabilities(model, batch)
            torch.testing.assert_close(again[0, :n], scores[0, :n], rtol=1e-4, atol=1e-4)


def test_label_smoothing_is_over_the_level(codes):
    batch = batch_of(codes, [(1,), (1,)], [0, 0])
    with torch.no_grad():
        mean = (
            sum(codes.loss(batch_of(codes, [(s,), (s,)], [0, 0]), 0.0) for s in range(SIZES[0]))
            / SIZES[0]
        )
        expected = 0.7 * codes.loss(batch, 0.0) + 0.3 * mean
        torch.testing.assert_close(codes.loss(batch, 0.3), expected)


def test_probabilities_of_a_level_add_up_to_one(codes):
    state, hidden = codes.step(codes.encode(*inputs(codes, "list", "text")), None, None)
    for depth, size in enumerate(SIZES):
        every = torch.arange(size).expand(2, 1, -1)
        log_p = codes.logits(hidden, depth, every) - codes.log_normaliser(hidden, depth)[..., None]
        assert log_p.dtype == torch.float32
        torch.testing.assert_close(log_p.exp().sum(dim=-1), torch.ones(2, 1))
    assert state.lengths.tolist() == [1, 1]


def test_queries_do_not_see_each_other(codes):
    texts = ["list", "extract the archive of files"]
    parents, symbols = torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 1, 2], [2, 1, 0]])
    state, _ = codes.step(codes.encode(*inputs(codes, *texts)), None, None)
    _, together = codes.step(state, parents, symbols)
    for row, text in enumerate(texts):
        state, _ = codes.step(codes.encode(*inputs(codes, text)), None, None)
        _, alone = codes.step(state, parents[:1], symbols[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_a_state_can_be_stepped_from_again(codes):
    state, _ = codes.step(codes.encode(*inputs(codes, "list")), None, None)
    zero, one = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.long)
    _, first = codes.step(state, zero, zero)
    _, other = codes.step(state, zero, one)
    _, again = codes.step(state, zero, zero)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("path", ["fast", "general"])
@pytest.mark.parametrize("model", ["text", "codes"])
@torch.inference_mode()
def test_whole_prefixes_equal_single_steps(model, path, request):
    model = request.getfixturevalue(model)
    if path == "general":
        model.backbone.steps = HFDecoder(model.backbone.net)
    symbols = torch.tensor([[2, 3], [0, 1], [1, 0]])
    queries = torch.tensor([1, 0, 1])
    begun = model.encode(*inputs(model, "list", "extract the archive of files"))
    found = model.states_for_prefixes(begun, queries, symbols, 1)
    state, _ = model.step(begun, None, None)
    parents, row = torch.zeros(2, 2, dtype=torch.long), torch.tensor([0, 0, 1])
    for place, expected in enumerate(found):
        taken = torch.stack([symbols[[1, 1]], symbols[[0, 2]]])[:, :, place]
        state, hidden = model.step(state, parents, taken)
        parents = torch.tensor([[0, 1], [0, 1]])
        torch.testing.assert_close(hidden[queries, row], expected, rtol=1e-5, atol=1e-5)
    (last,) = model.states_for_prefixes(begun, queries, symbols, 2)
    torch.testing.assert_close(last, found[-1])


@pytest.mark.parametrize("model", ["text", "codes"])
@torch.inference_mode()
def test_runs_equal_single_steps(model, request):
    """Rows of unlike length: each symbol is embedded by its level."""
    model = request.getfixturevalue(model)
    assert model.supports_multi_token
    begun = model.encode(*inputs(model, "list", "extract the archive of files"))
    state, _ = model.step(begun, None, None)
    state = model.select_rows(state, torch.tensor([1, 0, 1]))
    symbols = torch.tensor([[2, 3], [0, 99], [1, 0]])  # the second row has but one
    state, hidden = model.extend(state, torch.arange(3), symbols, torch.tensor([2, 1, 2]))
    assert state.lengths.tolist() == [3, 2, 3]
    first, second = model.states_for_prefixes(
        begun, torch.tensor([1, 0, 1]), symbols.where(symbols < 99, 0), 1
    )
    torch.testing.assert_close(hidden[:, 0], first, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden[[0, 2], 1], second[[0, 2]], rtol=1e-5, atol=1e-5)
    state, hidden = model.extend(state, torch.tensor([1]), torch.tensor([[3]]), torch.tensor([1]))
    (expected,) = model.states_for_prefixes(begun, torch.tensor([0]), torch.tensor([[0, 3]]), 2)
    torch.testing.assert_close(hidden[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_training_has_the_memory_of_the_joined_weights(codes):
    codes.encode(*inputs(codes, "list"))
    assert codes.backbone.steps._decoder is not None
    codes.train()
    assert codes.backbone.steps._decoder is None


def test_atomic_identifiers_are_one_level(codes):
    codes.build_head(Levels([3]), TABLE, np.eye(3, 16, dtype=np.float32))
    assert codes.head.symbols.shape == (3, 16)
    assert codes.loss(batch_of(codes, [(0,), (2,)], [0, 2]), 0.0).isfinite()


def test_a_few_steps_learn_two_identifiers(codes):
    batch = batch_of(codes, [(0, 3, 1), (2, 0, 0)], [0, 1])
    optimiser = torch.optim.Adam(codes.train().head_parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        codes.loss(batch, 0.0).backward()
        optimiser.step()
    assert codes.loss(batch, 0.0) < 0.1


def test_everything_from_scratch_is_new(codes):
    assert {id(p) for p in codes.head_parameters()} == {id(p) for p in codes.parameters()}


def test_bf16_products_give_a_float32_loss(codes):
    batch = batch_of(codes, [(0, 3, 1), (2, 1)], [0, 2])
    exact = codes.loss(batch, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = codes.loss(batch, 0.1)
        scores = log_probabilities(codes, batch)
    assert loss.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.03, atol=0.03)
    loss.backward()
    assert codes.head.symbols.grad.isfinite().all()


def assert_same(model, again, batch):
    assert again.new_symbols == model.new_symbols
    assert again.tokenizer("extract ☃")["input_ids"] == model.tokenizer("extract ☃")["input_ids"]
    own, other = (dict(m.named_parameters()) for m in (model, again))
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    with torch.no_grad():
        assert torch.equal(model.eval().loss(batch, 0.0), again.eval().loss(batch, 0.0))


@pytest.mark.parametrize("model", ["text", "codes"])
def test_a_saved_model_is_read_back_equal(model, request, tmp_path):
    model = request.getfixturevalue(model)
    torch.nn.init.normal_(model.backbone.net.shared.weight)
    model.save(tmp_path)
    again = Seq2SeqModel.load(tmp_path, Levels(model.sizes, model.text), TABLE)
    assert_same(model, again, batch_of(model, written(model, "list", "text"), [-1, -1]))
    again.save(tmp_path / "again")
    for name in ("model.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_folder_of_another_architecture_is_a_source(tmp_path):
    tokenizer = train_vocabulary(CORPUS, 420)
    half = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}
    sizes = {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in half.items()}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 1}
    config = BartConfig(vocab_size=len(tokenizer), d_model=16, **sizes, **ends)
    net = BartForConditionalGeneration(config)
    net.final_logits_bias.normal_()
    net.save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    model = build(source=str(tmp_path / "bart"))
    assert model.head_parameters() == []
    model.build_head(Levels([len(tokenizer)], text=True), TABLE, None)
    model.save(tmp_path / "model")
    again = Seq2SeqModel.load(tmp_path / "model", Levels(model.sizes, text=True), TABLE)
    assert torch.equal(again.backbone.bias, net.final_logits_bias)
    assert_same(model, again, batch_of(model, [(7, 1), (9, 8, 1)], [-1, -1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads = 3: .*must divide width = 16"),
        ({"vocabulary_size": 9}, "vocabulary_size = 9"),
        ({"widht": 16}, r"unknown key 'widht'; did you mean 'width'\?"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_a_source_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"cannot load '{tmp_path}'"):
        build(source=str(tmp_path))


@pytest.mark.parametrize("scaled", [True, False])
def test_a_code_is_read_on_the_scale_of_words(scaled, tmp_path):
    tokenizer = train_vocabulary(CORPUS, 420)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": len(tokenizer)}
    config = BartConfig(**sizes, scale_embedding=scaled, decoder_start_token_id=1)
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = build(source=str(tmp_path)).eval()
    model.build_head(Levels(SIZES), TABLE, None)
    torch.nn.init.constant_(model.head.symbols, 0)
    with torch.no_grad():
        model.head.symbols += model.backbone.output.weight[7]
        state, _ = model.step(model.encode(*inputs(model, "create")), None, None)
        first = torch.zeros(1, 1, dtype=torch.long)
        _, code = model.step(state, first, first)
        model.text = True
        _, word = model.step(state, first, first + 7)
        _, other = model.step(state, first, first + 8)
    torch.testing.assert_close(code, word)
    assert not torch.allclose(code, other)


def test_a_source_without_a_start_token_is_refused(tmp_path):
    tokenizer = train_vocabulary(CORPUS, 420)
    config = BartConfig(vocab_size=420, d_model=16, encoder_layers=0, decoder_layers=0)
    config.decoder_start_token_id = None
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no decoder_start_token_id"):
        build(source=str(tmp_path))


def test_identifiers_in_another_vocabulary_are_refused():
    with pytest.raises(InputError, match=r"vocabulary has \[99\] tokens"):
        build().build_head(Levels([99], text=True), TABLE, None)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def rewrite(**changes):
    def write(path):
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | changes))

    return write


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.json", lambda path: path.unlink()),
        ("model.json", truncate),
        ("model.json", rewrite(kind="encoder-head")),
        ("model.safetensors", lambda path: path.unlink()),
        ("model.safetensors", truncate),
        ("config.json", lambda path: path.unlink()),
        ("config.json", rewrite(d_model=32)),
        ("config.json", rewrite(num_layers=2)),
        ("tokenizer.json", lambda path: path.unlink()),
        ("tokenizer.json", truncate),
    ],
)
def test_a_damaged_folder_is_refused(name, damage, codes, tmp_path):
    codes.save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(InputError, match=str(tmp_path)):
        Seq2SeqModel.load(tmp_path, Levels(SIZES), TABLE)


def test_a_scheme_of_other_sizes_is_refused(codes, tmp_path):
    codes.save(tmp_path)
    with pytest.raises(InputError, match="the folder mixes two models"):
        Seq2SeqModel.load(tmp_path, Levels([4, 3, 2]), TABLE)


@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="MiniLM's package is not installed")
def test_two_minilm_halves(tmp_path):
    model = build(source="minilm2minilm")
    minilm = dict(model.backbone.net.encoder.named_parameters())
    decoder = dict(model.backbone.net.decoder.named_parameters())
    assert all(torch.equal(p, decoder[f"bert.{name}"]) for name, p in minilm.items())
    words = model.backbone.net.decoder.get_input_embeddings().weight
    assert model.backbone.output.weight is words
    new = [
        name for name, p in model.named_parameters() if any(p is h for h in model.head_parameters())
    ]
    assert len(new) == 6 * 10 + 5  # cross-attention a layer; the prediction transform and its bias
    assert all(
        "crossattention" in n or "predictions" in n or n.endswith("output.bias") for n in new
    )
    assert model.tokenizer.eos_token_id == model.tokenizer.sep_token_id == 102
    assert (model.backbone.start, model.tokenizer.pad_token_id) == (101, 0)

    model.build_head(Levels([len(model.tokenizer)], text=True), TABLE, None)
    batch = batch_of(model, written(model, "tar", "list files"), [-1, -1])
    loss = model.train().loss(batch, 0.1)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.save(tmp_path)
    again = Seq2SeqModel.load(tmp_path, Levels(model.sizes, text=True), TABLE)
    assert_same(model, again, batch)
    net = AutoModelForSeq2SeqLM.from_config(again.backbone.config)
    assert net.config.decoder_start_token_id == 101


@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="MiniLM's package is not installed")
def test_a_warm_decoder_copies_its_input_words():
    texts = ["what is the capital of normandy called?", "how do i list the files of an archive?"]
    words = ["normandy", "archive"]

    def places(warm):
        """Where the decoder ranks each word, among 30,522, after it has written it."""
        model = build(source="minilm2minilm", warm_start=warm).eval()
        read = model.tokenizer(texts, return_tensors="pt", padding=True)
        written = model.tokenizer(words, return_tensors="pt")["input_ids"][:, :2]  # from [CLS] on
        net = model.backbone
        with torch.no_grad():
            encoded = net.encode(read["input_ids"], read["attention_mask"])
            logits = net.logits(net.decode(encoded, net.embed(written)))[:, 1]
        return (logits > logits.gather(1, written[:, 1:])).sum(dim=1).tolist()

    assert max(places(warm=True)) <= 1  # beside [CLS]
    assert min(places(warm=False)) > 100
    assert (
        build(source="minilm2minilm", warm_start=True).new_symbols
        == build(source="minilm2minilm").new_symbols
    )
