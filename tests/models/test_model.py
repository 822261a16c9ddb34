import json
import shutil

import numpy as np
import pytest
import torch

from genir.config import IdentifierSection, validate
from genir.corpus.analyzer import Analyzer
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch
from genir.models.encoder_head import model as encoder_head
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.encoder_head.word_rows import count_words, match_scores, pad_ids
from genir.models.encoder_head.word_sets import WeightedWordSets
from genir.models.tokenization import encode_texts, pad_batch

QUERIES = {"copy-file": ["clone my text", "duplicate it"], "watch-disk": ["monitor a drive"]}
CODES = {"scheme": "residual", "levels": 2, "codes": 8}
SCHEMES = [
    {"scheme": "atomic"},
    CODES,
    {"scheme": "product", "levels": 4, "codes": 8},
    {"scheme": "hierarchical", "branches": 3, "leaf": 5},
]


@pytest.fixture(scope="module")
def corpus(tiny_corpus):
    return list(read_corpus(tiny_corpus))


@pytest.fixture
def build(tiny_encoder, corpus, fp32):
    """Make an encoder-head model; with a scheme, attach it and return (model, scheme, table,
    vectors)."""

    def build(scheme=None, **options):
        options = {"encoder": str(tiny_encoder), "word_set_size": 8} | options
        if scheme not in (None, {"scheme": "atomic"}) and options["word_set_size"]:
            options["word_set_size"] = 0
        model = EncoderHeadModel.build(validate(EncoderHeadOptions, options, "[model]"), corpus)
        if scheme is None:
            return model
        fitted = build_scheme(IdentifierSection(**scheme), model.tokenizer)
        vectors = model.document_vectors(corpus, QUERIES)
        fitted.fit(corpus, vectors)
        keys = [document.key for document in corpus]
        table = IdentifierTable.build(fitted.encode(corpus, vectors), keys)
        model.build_head(fitted, table, vectors)
        return model.eval(), fitted, table, vectors

    return build


def inputs(model, *texts):
    return pad_batch(encode_texts(model.tokenizer, texts, 32), model.tokenizer.pad_token_id)


def all_inputs(model, *texts):
    """Tokens, and words if the model has word sets."""
    words = model.word_inputs(texts)
    return inputs(model, *texts) if words is None else (*inputs(model, *texts), words)


def batch_of(model, rows, weights=(1.0, 1.0)):
    ids, mask = inputs(model, "clone a text", "watch every drive")
    return Batch(ids, mask, torch.zeros(2, 1), torch.tensor(rows), torch.tensor(weights))


def test_random_rows_know_nothing_of_their_documents_but_words(build):
    started, _, table, vectors = build({"scheme": "atomic"})
    scratch, *_ = build({"scheme": "atomic"}, row_init="random")
    order = table.symbols[:, 0].astype(int)
    assert np.allclose(started.head.codebooks[0].detach()[order], vectors[table.documents])
    rows = scratch.head.codebooks[0].detach()
    assert 0.015 < rows.std() < 0.025 and abs(rows.mean()) < 0.005
    assert torch.equal(scratch.words.weights, started.words.weights)
    assert (scratch.words.starts.diff() > 0).all() and (scratch.words.weights > 0).all()


@torch.no_grad()
def steps(model, scheme, texts, identifier):
    """Yield (depth, hidden, symbol) while every query takes the identifier's symbols."""
    state, parents, taken = model.encode(*all_inputs(model, *texts)), None, None
    for depth, symbol in zip(range(len(scheme.level_sizes())), identifier, strict=False):
        state, hidden = model.step(state, parents, taken)
        yield depth, hidden, symbol
        parents, taken = torch.zeros(len(texts), 1), torch.full((len(texts), 1), symbol)


def test_document_vectors_are_unit_means(build, corpus):
    model = build()
    vectors = model.document_vectors(corpus, QUERIES)
    assert vectors.shape == (40, 16) and vectors.dtype == np.float32
    own = model.encoder.embed([f"{d.title}. {d.text}" for d in corpus], "document")
    for number, document in enumerate(corpus):
        asked = model.encoder.embed(QUERIES.get(document.key, []), "document")
        mean = np.concatenate([own[number : number + 1], asked]).mean(axis=0)
        np.testing.assert_allclose(vectors[number], mean / np.linalg.norm(mean), atol=1e-5)


def test_atomic_scores_are_cosines_and_words(build, corpus):
    model, _, table, vectors = build({"scheme": "atomic"}, scale=7.0, word_weight=0.5)
    texts = ["clone a text", "watch"]
    every = torch.arange(40).expand(2, 1, -1)
    with torch.no_grad():
        _, hidden = model.step(model.encode(*all_inputs(model, *texts)), None, None)
        found = model.logits(hidden, 0, every)[:, 0]
        dense = model.encoder(*inputs(model, *texts)) @ torch.from_numpy(vectors).T
    counts = count_words(model.analyzer.terms(f"{d.title}. {d.text}" for d in corpus))
    asked = pad_ids(model.analyzer.terms(texts), 32)
    words = torch.from_numpy(match_scores(asked, WeightedWordSets(8).fit(counts).rows(counts)))
    words = words / torch.from_numpy((asked > 0).sum(axis=1, keepdims=True)).sqrt()
    assert (words > 0).any(dim=1).all()
    own = table.symbols[:, 0].astype(int)
    torch.testing.assert_close(found[:, own], (7 * dense + 0.5 * words)[:, table.documents])


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
def test_probabilities_of_a_level_add_up_to_one(build, scheme):
    model, fitted, _, _ = build(scheme)
    for depth, hidden, _ in steps(model, fitted, ["clone", "watch a disk"], [0] * 9):
        every = torch.arange(fitted.level_sizes()[depth]).expand(2, 1, -1)
        log_p = model.logits(hidden, depth, every) - model.log_normaliser(hidden, depth)[..., None]
        torch.testing.assert_close(log_p.exp().sum(dim=-1), torch.ones(2, 1))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
def test_a_document_s_score_is_an_inner_product_with_its_row(build, scheme):
    model, fitted, table, _ = build(scheme)
    texts = ["clone", "watch a disk"]
    with torch.no_grad():
        state = model.encode(*all_inputs(model, *texts))
        wanted = state.query @ model.head.row_vectors().T
        if state.word_scores is not None:
            wanted = wanted + state.word_scores[:, model.head.codes[:, 0].long()]
    for row in (0, 7, 39):
        identifier = table.identifier(row)
        parts = [
            model.logits(hidden, depth, torch.full((2, 1, 1), symbol))
            for depth, hidden, symbol in steps(model, fitted, texts, identifier)
        ]
        torch.testing.assert_close(sum(parts)[:, 0, 0], wanted[:, row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES[1:3], ids=lambda scheme: scheme["scheme"])
def test_rows_of_codes_start_where_the_scheme_decodes_them(build, scheme):
    model, fitted, table, _ = build(scheme)
    expected = fitted.decode(table.symbols[:, :-1])
    np.testing.assert_allclose(model.head.row_vectors().detach(), expected, atol=1e-5)


def test_text_is_not_a_bridge_s(build):
    with pytest.raises(InputError, match=r"scheme 'title' needs; use kind = 'seq2seq'"):
        build({"scheme": "title"})


def test_the_loss_is_the_weighted_mean(build):
    model, *_ = build(CODES)

    def loss(rows, weights):
        with torch.no_grad():
            return float(model.loss(batch_of(model, rows, weights), 0.1))

    one, other = loss([4, 4], (1.0, 0.0)), loss([9, 9], (0.0, 1.0))
    assert loss([4, 9], (1.0, 3.0)) == pytest.approx((one + 3 * other) / 4)


def test_training_does_not_see_the_words(build):
    model, *_ = build({"scheme": "atomic"})
    before = model.loss(batch_of(model, [4, 9]), 0.0)
    model.words.weights.mul_(5)
    assert torch.equal(model.loss(batch_of(model, [4, 9]), 0.0), before)


def test_training_reaches_the_encoder_and_the_codebooks(build):
    model, *_ = build(CODES)
    model.train().loss(batch_of(model, [4, 9]), 0.1).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert [id(p) for p in model.head_parameters()] == [id(p) for p in model.head.codebooks]
    assert {id(p) for p in trained} == {
        id(p) for p in [*model.encoder.parameters(), *model.head_parameters()]
    }


def test_a_few_steps_learn_two_documents(build):
    model, *_ = build({"scheme": "atomic"})
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        model.loss(batch_of(model, [3, 30]), 0.0).backward()
        optimiser.step()
    assert model.loss(batch_of(model, [3, 30]), 0.0) < 0.1


def test_finishing_mixes_the_tuned_encoder_s_view_into_atomic_rows(build, corpus):
    model, _, table, _ = build({"scheme": "atomic"}, document_vector_weight=0.5)
    with torch.no_grad():
        for weights in [*model.encoder.parameters(), *model.head.codebooks]:
            weights += 0.1 * torch.randn_like(weights)
    rows = torch.nn.functional.normalize(model.head.codebooks[0].detach(), dim=1)
    seen = model.encoder.embed([f"{d.title}. {d.text}" for d in corpus], "document")
    model.after_training(corpus)
    for number in range(len(corpus)):
        symbol = int(table.symbols[table.rows_of(number)[0], 0])
        mixed = rows[symbol] + 0.5 * torch.from_numpy(seen[number])
        expected = mixed / mixed.norm()
        torch.testing.assert_close(model.head.normalized_codebook(0)[symbol], expected)


@pytest.mark.parametrize(
    ("scheme", "options"), [(CODES, {}), (SCHEMES[0], {"document_vector_weight": 0})]
)
def test_finishing_changes_only_blended_atomic_rows(scheme, options, build, corpus):
    model, *_ = build(scheme, **options)
    before = [codebook.clone() for codebook in model.head.codebooks]
    model.after_training(corpus)
    for old, new in zip(before, model.head.codebooks, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)


def test_identifiers_cost_their_rows(build):
    model, *_ = build({"scheme": "atomic"}, word_set_size=64)
    words = len(model.words.columns)
    assert words < 40 * 64 and model.identifier_bytes() == 4 * (40 * 16 + 2 * words + 41)
    codes, *_ = build(CODES, word_set_size=0)
    assert codes.identifier_bytes() == 0  # codebooks are shared


def test_words_of_documents_are_not_read_for_codes(build, corpus, monkeypatch):
    monkeypatch.setattr(Analyzer, "terms", lambda *_: pytest.fail("read"))
    model, *_ = build(CODES, word_set_size=None)
    assert model.words is None and model.options.word_set_size == 0


def test_sets_have_as_many_words_as_the_longest_document(build, corpus, monkeypatch):
    monkeypatch.setattr(encoder_head, "MIN_SET_SIZE", 2)
    model, *_ = build({"scheme": "atomic"}, word_set_size=None)
    terms = model.analyzer.terms(f"{d.title}. {d.text}" for d in corpus)
    assert model.options.word_set_size == model.words.size == max(len(set(own)) for own in terms)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
@pytest.mark.parametrize("words", [0, 8])
def test_a_saved_model_is_read_back_equal(build, scheme, words, tmp_path):
    model, fitted, table, _ = build(scheme, word_set_size=words)
    model.save(tmp_path)
    again = EncoderHeadModel.load(tmp_path, fitted, table).eval()
    assert again.options == model.options and again.word_weight == model.word_weight
    texts = "clone a text", "watch ☃"
    with torch.no_grad():
        states = (
            model.encode(*all_inputs(model, *texts)),
            again.encode(*all_inputs(again, *texts)),
        )
        assert torch.equal(states[0].query, states[1].query)
        if again.words is not None:
            assert torch.equal(states[0].word_scores, states[1].word_scores)
        assert torch.equal(model.head.row_vectors(), again.head.row_vectors())
        assert model.loss(batch_of(model, [4, 9]), 0.1) == again.loss(batch_of(again, [4, 9]), 0.1)


def test_a_model_of_other_identifiers_is_refused(build, tmp_path):
    model, *_ = build(CODES)
    model.save(tmp_path)
    _, other, table, _ = build({"scheme": "atomic"})
    with pytest.raises(InputError, match=f"{tmp_path}.*scheme.json: states .* for head"):
        EncoderHeadModel.load(tmp_path, other, table)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.json", "config.json", "tokenizer.json"]
)
def test_a_missing_file_is_refused(name, build, tmp_path):
    model, fitted, table, _ = build({"scheme": "atomic"})
    model.save(tmp_path)
    (tmp_path / name).unlink()
    expected = "tokenizer" if name == "tokenizer.json" else "cannot be read"
    with pytest.raises(InputError, match=f"{tmp_path}.*{expected}"):
        EncoderHeadModel.load(tmp_path, fitted, table)


def test_a_model_starts_from_another(build, corpus):
    parent, _, table, _ = build({"scheme": "atomic"})
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    child = build()
    learned = child.inherit_weights(parent, table)
    rows = [table.number(document.key) for document in corpus]
    expected = parent.head.row_vectors().detach().numpy()[rows]
    np.testing.assert_array_equal(learned, expected)
    ids, mask = inputs(parent, "clone a text")
    with torch.no_grad():
        assert torch.equal(child.eval().encoder(ids, mask), parent.eval().encoder(ids, mask))


def test_a_start_from_another_encoder_is_refused(build):
    parent, _, table, _ = build({"scheme": "atomic"})
    parent.options = parent.options.model_copy(update={"encoder": "other"})
    with pytest.raises(InputError, match=r"encoder = .* to start from has 'other'; use the same"):
        build().inherit_weights(parent, table)


@pytest.mark.parametrize(
    "changes", [{"length": 12}, {"query_prompt": "find: "}, {"document_prompt": "text: "}]
)
def test_a_start_from_other_settings_is_refused(changes, build):
    parent, _, table, _ = build({"scheme": "atomic"})
    ((key, value),) = changes.items()
    with pytest.raises(InputError, match=rf"\[model\] {key} = {value!r}, but .*; use the same"):
        build(**changes).inherit_weights(parent, table)


def test_a_start_from_other_layers_is_refused(build, tiny_encoder, tmp_path):
    """The folder has changed since the parent was trained."""
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    parent, _, table, _ = build({"scheme": "atomic"}, encoder=str(folder))
    build(encoder=str(folder)).inherit_weights(parent, table)
    module = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    modules = [{"path": "", "type": module.replace("pooling.Pooling", "x.Transformer")}]
    modules.append({"path": "1_Pooling", "type": module})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    with pytest.raises(InputError, match=r"encoder: layers for query texts = .*'cls'.*; use the"):
        build(encoder=str(folder)).inherit_weights(parent, table)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    build(encoder=str(folder)).inherit_weights(parent, table)
    settings = folder / "config_sentence_transformers.json"
    settings.write_text('{"truncate_dim": 8}')
    with pytest.raises(InputError, match=r"encoder: truncate_dim = 8, but .* has None; use the"):
        build(encoder=str(folder)).inherit_weights(parent, table)
    settings.unlink()
    child = build(encoder=str(folder))
    child.encoder.backbone.resize_token_embeddings(9)
    with pytest.raises(InputError, match=r"its weights are not those of the model to start from"):
        child.inherit_weights(parent, table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"word_size": 8}, r"unknown key 'word_size'; did you mean 'word_set_size'\?"),
        ({"scale": 0}, "scale = 0"),
        ({"encoder": "not/there/folder"}, "cannot load 'not/there/folder'"),
    ],
)
def test_bad_options_are_named(options, message, build, offline):
    with pytest.raises(InputError, match=message):
        build(**options)
