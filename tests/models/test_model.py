import numpy as np
import pytest
import torch

from genir.config import IdentifierSection, validate
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.identifiers.registry import build_scheme
from genir.identifiers.table import IdentifierTable
from genir.models.base import Batch
from genir.models.encoder import encode_texts, pad_batch
from genir.models.encoder_head.lexical import count_tokens
from genir.models.encoder_head.model import EncoderHeadModel, EncoderHeadOptions

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
        options = {"encoder": str(tiny_encoder), "lexical_dim": 8} | options
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


def batch_of(model, rows, weights=(1.0, 1.0)):
    ids, mask = inputs(model, "clone a text", "watch every drive")
    return Batch(ids, mask, torch.zeros(2, 1), torch.tensor(rows), torch.tensor(weights))


def test_random_rows_know_nothing_of_their_documents_but_words(build):
    started, _, table, vectors = build({"scheme": "atomic"})
    scratch, *_ = build({"scheme": "atomic"}, row_init="random")
    order = table.symbols[:, 0].astype(int)
    assert np.allclose(started.head.codebooks[0].detach()[order], vectors[table.documents][:, :16])
    rows = scratch.head.codebooks[0].detach()
    assert 0.015 < rows.std() < 0.025 and abs(rows.mean()) < 0.005
    assert torch.equal(scratch.head.frozen_rows[0], started.head.frozen_rows[0])


@torch.no_grad()
def steps(model, scheme, texts, identifier):
    """Yield (depth, hidden, symbol) while every query takes the identifier's symbols."""
    state, parents, taken = model.encode(*inputs(model, *texts)), None, None
    for depth, symbol in zip(range(len(scheme.level_sizes())), identifier, strict=False):
        state, hidden = model.step(state, parents, taken)
        yield depth, hidden, symbol
        parents, taken = torch.zeros(len(texts), 1), torch.full((len(texts), 1), symbol)


def test_document_vectors_are_unit_means_beside_words(build, corpus):
    model = build()
    vectors = model.document_vectors(corpus, QUERIES)
    assert vectors.shape == (40, 16 + 8) and vectors.dtype == np.float32
    own = model.encoder.embed([f"{d.title}. {d.text}" for d in corpus])
    for number, document in enumerate(corpus):
        asked = model.encoder.embed(QUERIES.get(document.key, []))
        mean = np.concatenate([own[number : number + 1], asked]).mean(axis=0)
        np.testing.assert_allclose(vectors[number, :16], mean / np.linalg.norm(mean), atol=1e-5)
    texts = [f"{d.title} {d.text}" for d in corpus]
    ids = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    words = model.lexical.document_vectors(count_tokens(ids, len(model.tokenizer)))
    np.testing.assert_array_equal(vectors[:, 16:], words)


def test_without_a_word_channel_vectors_are_dense(build, corpus):
    vectors = build(lexical_dim=0).document_vectors(corpus, {})
    assert vectors.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_atomic_scores_are_cosines_and_words(build):
    model, _, _, vectors = build({"scheme": "atomic"}, scale=7.0, lexical_gain=0.5)
    ids, mask = inputs(model, "clone a text", "watch")
    every = torch.arange(40).expand(2, 1, -1)
    with torch.no_grad():
        _, hidden = model.step(model.encode(ids, mask), None, None)
        found = model.logits(hidden, 0, every)[:, 0]
        dense = model.encoder(ids, mask) @ torch.from_numpy(vectors[:, :16]).T
        words = model.lexical(ids) @ torch.from_numpy(vectors[:, 16:]).T
    torch.testing.assert_close(found, 7 * dense + 0.5 * words)


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
        wanted = model.query_vectors(*inputs(model, *texts)) @ model.head.row_vectors().T
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
    model.lexical.weight.mul_(5)
    for fixed in model.head.frozen_rows:
        fixed.mul_(5)
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
    seen = model.encoder.embed([f"{d.title}. {d.text}" for d in corpus])
    model.after_training(corpus)
    for number in range(len(corpus)):
        symbol = int(table.symbols[table.rows_of(number)[0], 0])
        mixed = rows[symbol] + 0.5 * torch.from_numpy(seen[number])
        expected = mixed / mixed.norm()
        torch.testing.assert_close(model.head.normalized_codebook(0)[symbol], expected)


@pytest.mark.parametrize(
    ("scheme", "options"), [(CODES, {}), (SCHEMES[0], {"document_vector_weight": 0})]
)
def test_finishing_leaves_codes_alone_and_what_asks_for_no_anchor(scheme, options, build, corpus):
    model, *_ = build(scheme, **options)
    before = [codebook.clone() for codebook in model.head.codebooks]
    model.after_training(corpus)
    for old, new in zip(before, model.head.codebooks, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)


def test_identifiers_cost_their_rows(build):
    assert build({"scheme": "atomic"})[0].identifier_bytes() == 40 * (16 + 8) * 4
    codes, fitted, *_ = build(CODES, lexical_dim=0)
    assert codes.identifier_bytes() == sum(fitted.level_sizes()) * 16 * 4


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
@pytest.mark.parametrize("lexical", [0, 8])
def test_a_saved_model_is_read_back_equal(build, scheme, lexical, tmp_path):
    model, fitted, table, _ = build(scheme, lexical_dim=lexical)
    model.save(tmp_path)
    again = EncoderHeadModel.load(tmp_path, fitted, table).eval()
    assert again.options == model.options
    texts = "clone a text", "watch ☃"
    with torch.no_grad():
        states = model.encode(*inputs(model, *texts)), again.encode(*inputs(again, *texts))
        assert torch.equal(states[0].query, states[1].query)
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
    message = "lexical_dim: states .* but model.safetensors holds"  # of another tokenizer
    told = message if name == "tokenizer.json" else "cannot be read"
    with pytest.raises(InputError, match=f"{tmp_path}.*{told}"):
        EncoderHeadModel.load(tmp_path, fitted, table)


def test_a_model_starts_from_another(build, corpus):
    parent, _, table, _ = build({"scheme": "atomic"})
    with torch.no_grad():
        for parameter in parent.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for lexical in (8, 0):
        child = build(lexical_dim=lexical)
        learned = child.inherit_weights(parent, table)
        rows = [table.number(document.key) for document in corpus]
        expected = parent.head.row_vectors().detach()[:, : child.width].numpy()[rows]
        np.testing.assert_array_equal(learned, expected)
        ids, mask = inputs(parent, "clone a text")
        with torch.no_grad():
            assert torch.equal(child.eval().encoder(ids, mask), parent.eval().encoder(ids, mask))


@pytest.mark.parametrize(
    ("options", "message"), [({"lexical_dim": 16}, r"lexical_dim = 16.* has 8")]
)
def test_a_start_that_does_not_fit_is_refused(build, options, message):
    parent, _, table, _ = build({"scheme": "atomic"})
    with pytest.raises(InputError, match=message):
        build(**options).inherit_weights(parent, table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lexcal": 8}, r"unknown key 'lexcal'; did you mean 'lexical_dim'\?"),
        ({"scale": 0}, "scale = 0"),
        ({"encoder": "no/such/folder"}, "cannot load 'no/such/folder'"),
    ],
)
def test_bad_options_are_named(options, message, build, offline):
    with pytest.raises(InputError, match=message):
        build(**options)
