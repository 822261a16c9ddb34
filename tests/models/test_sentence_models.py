"""Encoders in every format of sentence-transformers: the library's vectors, before and after."""

import json
from random import Random

import numpy as np
import pytest
import torch
from sentence_models import FORMATS, PROMPTS, Formats, reference

import genir
from genir.baselines.dense import Dense
from genir.config import Recipe
from genir.corpus.readers import read_corpus, read_queries
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.codebooks import CodebookHead
from genir.models.encoder_head.model import EncoderHeadModel
from genir.models.encoder_head.options import EncoderHeadOptions
from genir.models.engine.encoder import Encoder
from genir.training.batches import Batcher
from genir.training.build import build_retriever
from genir.types import Example

TABLE = IdentifierTable.build([[(0,)]], ["a"])
TEXTS = [
    "copy a file", "how do I delete the folder?", "watch", "x",
    "encrypt the network and every process of the disk " * 9,
]  # fmt: skip
CONVERTED = ("cls-prompts", "mean-dense", "t5-encoder", "multilingual", "two-towers", "asymmetric")
"""Formats whose network runs on genir's own engine."""


@pytest.fixture(scope="module")
def formats(tiny_encoder, tmp_path_factory):
    return Formats(tiny_encoder, tmp_path_factory.mktemp("formats"))


@pytest.fixture(scope="module")
def documents(tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return DocumentStore.create(path, read_corpus(tiny_corpus))


@pytest.fixture(scope="module")
def queries(tiny_corpus):
    texts = [query.text for query in read_queries(tiny_corpus / "queries.jsonl").values()]
    assert len(texts) == 100
    return texts


def options(folder, **others):
    return {"kind": "encoder-head", "encoder": folder, "word_set_size": 0} | others


def library_vectors(model, texts, role):
    """Encode texts as the library does, with the prompt named "passage" if there is one."""
    if role == "query":
        return model.encode_query(texts, normalize_embeddings=True)
    name = "passage" if model.prompts.get("passage") else None
    return model.encode_document(texts, normalize_embeddings=True, prompt_name=name)


@pytest.mark.parametrize("name", FORMATS)
def test_vectors_are_those_of_the_library(name, formats, fp32):
    folder = formats.write(name)
    model, encoder = reference(folder), TextEncoder.pretrained(folder)
    for role in ("query", "document"):
        expected = library_vectors(model, TEXTS, role)
        found = encoder.embed(TEXTS, role)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        alone = [encoder.embed(text, role)[0] for text in TEXTS]
        np.testing.assert_allclose(alone, expected, atol=1e-4)
    assert isinstance(encoder.cast_cache.cast_copy, Encoder) == (name in CONVERTED)


@pytest.mark.parametrize("name", FORMATS)
def test_an_untrained_model_ranks_as_the_library_does(name, formats, documents, queries, fp32):
    folder = formats.write(name)
    recipe = {
        "name": "untrained",
        "identifiers": {"scheme": "atomic"},
        "tasks": [{"task": "queries"}],
        "model": options(folder),
        "training": {"precision": "fp32"},
    }
    retriever = build_retriever(Recipe.model_validate(recipe), documents, {}, None)
    retriever.model.eval()
    model = reference(folder)
    texts = [f"{document.title}. {document.text}" for document in documents]
    rows = library_vectors(model, texts, "document")
    scores = library_vectors(model, queries, "query") @ rows.T
    keys = documents.keys()
    for hits, own in zip(retriever.search(queries, 10), scores, strict=True):
        places = [keys.index(hit.key) for hit in hits]
        # Scores of the library at the same places: equal but for documents closer than rounding.
        np.testing.assert_allclose(own[places], np.sort(own)[::-1][:10], atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_it_trains_saves_loads_and_adds(name, formats, tiny_corpus, queries, tmp_path, fp32):
    folder, out = formats.write(name), tmp_path / "model"
    settings = ["identifiers.scheme=atomic", "training.max_steps=3", "training.batch_size=16"]
    # Without dev queries the last weights are published, not the best of all steps.
    settings += ["training.dev_queries=0", f"model.encoder={json.dumps(folder)}"]
    trained = genir.train(tiny_corpus, "default", out=out, settings=settings)
    before = TextEncoder.pretrained(folder).state_dict()
    after = trained.model.encoder.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key].cpu())}
    assert any(not key.startswith("document_encoder") for key in changed)
    moved = any(key.startswith("document_encoder.backbone") for key in changed)
    assert moved == (name == "asymmetric"), "its towers share the network"
    loaded = genir.Retriever.load(out, "cpu")
    answers = [[(hit.key, hit.score) for hit in hits] for hits in trained.search(queries[:9], 5)]
    again = [[(hit.key, hit.score) for hit in hits] for hits in loaded.search(queries[:9], 5)]
    assert again == answers
    added = {"_id": "new", "title": "vault", "text": "polish and shine 77 ledgers, 88 mirrors"}
    loaded.add([added])
    assert "new" in [hit.key for hit in loaded.search([added["text"]], 3)[0]]


def test_prompts_of_the_recipe_replace_those_of_the_encoder(formats, fp32):
    folder = formats.write("cls-prompts")
    own = TextEncoder.pretrained(folder)
    assert [own.prompts[role].text for role in PROMPTS] == [*PROMPTS.values()]
    other = TextEncoder.pretrained(folder, query_prompt="", document_prompt="find: ")
    typed = other.embed("search for this: copy", "query")
    assert (typed == own.embed("copy", "query")).all()
    assert (own.embed("copy", "document") != other.embed("copy", "document")).any()
    assert [other.prompts[role].text for role in PROMPTS] == ["", "find: "]


def test_a_source_is_cut_after_its_prompt(formats):
    folder = formats.write("cls-prompts")
    model = EncoderHeadModel.build(EncoderHeadOptions(encoder=folder, word_set_size=0), ())
    prompt = model.source_prompt
    assert prompt.tokens == 1 + len(model.tokenizer.tokenize(PROMPTS["query"]))
    model.check_source_length(80 - prompt.tokens)
    most = f"at most {80 - prompt.tokens} tokens after {prompt.tokens} at the start"
    with pytest.raises(InputError, match=rf"source_length = 80: .*{most}"):
        model.check_source_length(80)
    batcher = Batcher(model, TABLE, 4, (5, 4))
    ids = next(batcher.batches([Example("copy my file, and delete", (0,))], Random(0))).input_ids
    assert ids.shape == (1, prompt.tokens + 5)
    assert model.tokenizer.decode(ids[0]).startswith("[CLS] search for this : copy my file")


def test_training_reads_the_query_prompt(formats, tiny_corpus, tmp_path, monkeypatch):
    sources, loss = [], EncoderHeadModel.loss

    def noting(model, batch, label_smoothing):
        sources.extend(model.tokenizer.batch_decode(batch.input_ids))
        return loss(model, batch, label_smoothing)

    monkeypatch.setattr(EncoderHeadModel, "loss", noting)
    settings = ["identifiers.scheme=atomic", "training.max_steps=1", "training.dev_queries=0"]
    settings += [f"model.encoder={json.dumps(formats.write('cls-prompts'))}"]
    genir.train(tiny_corpus, "default", out=tmp_path / "model", settings=settings)
    assert sources and all(text.startswith("[CLS] search for this : ") for text in sources)


def test_excluding_a_prompt_prevents_captured_searches(formats):
    def prepared(**prompts):
        options = EncoderHeadOptions(encoder=folder, word_set_size=0, **prompts)
        model = EncoderHeadModel.build(options, ())
        model.head = CodebookHead([2], model.encoder.dimension, TABLE)
        return model.prepared_weights()

    folder = formats.write("without-prompt")
    assert prepared() is None
    assert prepared(query_prompt="") is not None
    folder = formats.write("cls-prompts")
    assert prepared() is not None


def test_cached_vectors_follow_the_prompts(formats, documents, tmp_path, fp32):
    folder, cache = formats.write("cls-prompts"), tmp_path / "vectors.safetensors"
    own = TextEncoder.pretrained(folder)
    other = TextEncoder.pretrained(folder, document_prompt="find: ")
    first = Dense.fit(documents, own, cache)
    assert (Dense.fit(documents, own, cache).vectors == first.vectors).all()
    assert not np.allclose(Dense.fit(documents, other, cache).vectors, first.vectors)
    found = next(iter(first.scores(["copy"])))
    assert (found == own.embed("copy", "query")[0] @ first.vectors.T).all()


def test_lengths(formats):
    own = TextEncoder.pretrained(formats.write("without-prompt"))
    assert own.length == 30
    assert TextEncoder.pretrained(formats.write("without-prompt"), 14).length == 14
    assert TextEncoder.pretrained(formats.write("static")).length == 8_192
    towers = TextEncoder.pretrained(formats.write("router")).towers()
    assert [tower.length for tower in towers] == [8_192, 80]
    with pytest.raises(InputError, match=r"\[model\] length = 99: the encoder .* at most 80 tok"):
        TextEncoder.pretrained(formats.write("router"), 99)


@pytest.mark.parametrize("role", ["query", "document"])
def test_a_prompt_leaves_room_for_a_text(role, formats):
    folder = formats.write("router")  # only documents have special tokens, two of them
    length, special = (8_192, 0) if role == "query" else (80, 2)
    room = length - special
    message = (
        rf"the encoder '{folder}': its {role} prompt and special tokens are {length} tokens, but a "
        rf"text has at most {length} with them; shorten \[model\] {role}_prompt"
    )
    with pytest.raises(InputError, match=message):
        TextEncoder.pretrained(folder, **{f"{role}_prompt": "x " * room})


def test_static_embeddings_have_no_states_for_sets_and_no_layers_for_adapters(formats, documents):
    folder = formats.write("static")
    model = EncoderHeadModel.build(EncoderHeadOptions(encoder=folder, word_set_size=0), documents)
    assert model.source_positions() == []
    with pytest.raises(
        InputError, match=r"adapters: static embeddings and given vectors have no layers"
    ):
        model.adapter_target()
    sets = EncoderHeadOptions(encoder=folder, term_set_size=4)
    with pytest.raises(InputError, match=r"term_set_size = 4: .* has static embeddings"):
        EncoderHeadModel.build(sets, documents)


def test_towers_share_parts_and_only_queries_train(formats):
    asymmetric = TextEncoder.pretrained(formats.write("asymmetric"))
    assert asymmetric.document_encoder.backbone is asymmetric.backbone
    trained = [name for name, p in asymmetric.named_parameters() if p.requires_grad]
    assert not any(name.startswith("document_encoder") for name in trained)
    router = TextEncoder.pretrained(formats.write("router"))
    assert router.layers[1] is router.document_encoder.layers[1]
    assert not any(p.requires_grad for p in router.document_encoder.backbone.parameters())
