import numpy as np
import pytest
import torch
from tiny import QUERIES, SCRATCH
from transformers import BartConfig, BartForConditionalGeneration

from genir.config import Recipe, load_recipe
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.models.tokenizer_training import train_vocabulary
from genir.retriever import Retriever
from genir.training.build import build_retriever


@pytest.fixture
def recipe(recipe_file):
    def load(*settings):
        return load_recipe(recipe_file, settings)

    return load


CODES = ("identifiers.scheme=residual", "identifiers.levels=2", "identifiers.codes=8")


@pytest.mark.parametrize("settings", [(), CODES, ("identifiers.scheme=hierarchical",)])
def test_every_document_gets_an_identifier_before_any_training(
    recipe, documents, queries, settings
):
    retriever = build_retriever(recipe(*settings), documents, queries, None)
    assert retriever.table.keys == documents.keys()
    assert len(np.unique(retriever.table.symbols, axis=0)) == 40
    counts = dict(zip(retriever.table.keys, retriever.index.query_counts.tolist(), strict=True))
    assert counts == {key: len(queries[key]) for key in retriever.table.keys}
    assert len({hit.key for hit in retriever.search(["copy file"], 40)[0]}) == 40


def test_lengths_beyond_the_encoder_s_positions_are_refused(recipe, documents, queries):
    for settings, key in (
        (["model.length=1024"], r"\[model\] length = 1024"),
        (["training.source_length=600"], r"\[training\] source_length = 600"),
    ):
        with pytest.raises(InputError, match=rf"{key}: the encoder .* takes at most 512 tokens"):
            build_retriever(recipe(*settings), documents, queries, None)


def test_a_query_of_any_length_is_cut_at_the_encoder_s_positions(recipe, documents, queries):
    retriever = build_retriever(recipe("training.source_length=512"), documents, queries, None)
    words = [word for text in QUERIES for word in text.split()]
    hits = retriever.search([" ".join(words * 200), "copy file", ""], 5)
    assert [len(each) for each in hits] == [5, 5, 5]


@pytest.fixture
def bart(tmp_path, documents):
    """A folder with a BART of 40 positions."""
    tokenizer = train_vocabulary(documents, 400)
    sizes = {"d_model": 16, "max_position_embeddings": 40, "vocab_size": len(tokenizer)} | {
        f"{half}_{size}": number
        for half in ("encoder", "decoder")
        for size, number in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 1}
    BartForConditionalGeneration(BartConfig(**sizes, **ends)).save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    return tmp_path / "bart"


def short(bart, *settings):
    return load_recipe(
        "title",
        [f"model.source={bart}", "identifiers.max_tokens=39", "training.source_length=40",
         "training.target_length=40", *settings],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["training.source_length=41"],
            r"\[training\] source_length = 41: the encoder of .* 40",
        ),
        (["identifiers.max_tokens=40"], r"\[identifiers\] max_tokens = 40: the decoder of .* 39"),
        (
            ["decoding.strategy=corpusbrain", "decoding.max_identifiers=9"],
            r"the length of identifiers = .*: the decoder of .* 39 tokens after 1 at the start",
        ),
        (
            ["decoding.strategy=text", "training.target_length=41"],
            r"\[training\] target_length = 41: the decoder of .* at most 40 tokens; set",
        ),
    ],
)
def test_lengths_beyond_an_encoder_decoder_s_positions_are_refused(
    settings, message, bart, documents, queries
):
    build_retriever(short(bart), documents, queries, None)
    with pytest.raises(InputError, match=message):
        build_retriever(short(bart, *settings), documents, queries, None)


def test_a_start_hands_over_the_encoder_and_the_documents_places(
    recipe, documents, queries, tmp_path
):
    parent = build_retriever(recipe(), documents, queries, None)
    with torch.no_grad():
        for parameter in parent.model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    parent.save(tmp_path / "parent")
    child = build_retriever(recipe(*CODES), documents, queries, tmp_path / "parent")
    alone = build_retriever(recipe(*CODES), documents, queries, None)
    for name, weights in parent.model.encoder.state_dict().items():
        assert torch.equal(child.model.encoder.state_dict()[name], weights)
    assert not np.array_equal(child.table.symbols, alone.table.symbols)


def test_a_start_of_another_kind_is_refused(recipe, documents, queries, tmp_path):
    build_retriever(recipe(), documents, queries, None).save(tmp_path / "parent")
    other = recipe("model.kind=seq2seq", "model.source=scratch")
    with pytest.raises(
        InputError, match=r"holds a 'encoder-head' model, .* a 'seq2seq' one; start from"
    ):
        build_retriever(other, documents, queries, tmp_path / "parent")


def test_a_start_from_another_corpus_is_refused(recipe, documents, queries, tmp_path):
    build_retriever(recipe(), documents, queries, None).save(tmp_path / "parent")
    fewer = DocumentStore.create(tmp_path / "fewer.sqlite", documents[:30])
    with pytest.raises(InputError, match="was trained on another corpus; train it on this one"):
        build_retriever(recipe(), fewer, {}, tmp_path / "parent")


def test_the_seed_determines_new_parameters(recipe, documents, queries):
    def drawn(seed):
        tree = ("identifiers.scheme=hierarchical", "identifiers.branches=2", "identifiers.leaf=4")
        settings = recipe(*tree, f"training.seed={seed}")
        model = build_retriever(settings, documents, queries, None).model
        return torch.cat([codebook.flatten() for codebook in model.head.codebooks])

    first = drawn(0)
    torch.rand(3)  # earlier draws have no effect
    assert torch.equal(first, drawn(0)) and not torch.equal(first, drawn(1))


# --- a transformer initialised from another ------------------------------------------------------


@pytest.fixture
def transformer(tiny_encoder):
    """Return a factory of recipes of tiny transformers."""

    def make(scheme, **model):
        codes = {"levels": 2, "codes": 8} if scheme == "residual" else {}
        own = SCRATCH | {"encoder": str(tiny_encoder)} | model
        return Recipe.model_validate(
            {"name": "tiny", "identifiers": {"scheme": scheme} | codes, "model": own}
            | {"tasks": [{"task": "queries"}], "training": {"precision": "fp32"}}
        )

    return make


def answers(retriever):
    retriever.model.eval()
    found = retriever.search(QUERIES, 40)
    return [[(hit.key, hit.identifier, hit.score) for hit in hits] for hits in found]


@pytest.mark.parametrize("scheme", ["residual", "title"])
def test_the_same_identifiers_are_kept_and_all_that_was_learned(
    transformer, documents, queries, tmp_path, scheme
):
    parent = build_retriever(transformer(scheme), documents, queries, None)
    with torch.no_grad():
        for parameter in parent.model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    parent.save(tmp_path / "parent")
    # Without any query, newly fitted codes would differ.
    child = build_retriever(transformer(scheme), documents, {}, tmp_path / "parent")
    assert answers(child) == answers(parent)
    assert child.model.head_parameters() == []
    child.save(tmp_path / "child")
    assert answers(Retriever.load(tmp_path / "child")) == answers(parent)


def test_other_identifiers_are_made_anew(transformer, documents, queries, tmp_path):
    parent = build_retriever(transformer("title"), documents, queries, None)
    parent.save(tmp_path / "parent")
    child = build_retriever(transformer("residual"), documents, queries, tmp_path / "parent")
    assert [p is child.model.head.symbols for p in child.model.head_parameters()] == [True]
    for name, weights in parent.model.backbone.state_dict().items():
        assert torch.equal(child.model.backbone.state_dict()[name], weights)


def test_a_transformer_of_another_size_is_refused(transformer, documents, queries, tmp_path):
    build_retriever(transformer("title"), documents, queries, None).save(tmp_path / "parent")
    wide = transformer("title", width=32)
    with pytest.raises(InputError, match=r"width = 32, but the model to start from has 16; use"):
        build_retriever(wide, documents, queries, tmp_path / "parent")


def test_a_start_that_has_lost_documents_is_refused(transformer, documents, queries, tmp_path):
    parent = build_retriever(transformer("title"), documents, queries, None)
    parent.save(tmp_path / "parent")
    Retriever.load(tmp_path / "parent").delete(["copy-file"])
    with pytest.raises(InputError, match=r"were deleted from .*parent; train that model on this"):
        build_retriever(transformer("title"), documents, queries, tmp_path / "parent")
