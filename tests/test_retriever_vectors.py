"""Models whose document vectors come from any encoder: search, training, updates, evaluation."""

import json
import shutil

import numpy as np
import pytest
from in_process import run

from genir import Retriever, evaluate, load_recipe, train, write_vectors
from genir.corpus.lazy_hits import LazyHits
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.errors import InputError
from genir.evaluation.runner import build_baselines
from genir.models.encoder_head.model import TRAINED_WEIGHT
from genir.training.pipeline import TrainingJob
from genir.training.resolve import resolve
from genir.types import Document, Hit, HitList
from genir.updates.answers import rerank_answers
from genir.vector_query import VectorQuery

SETTINGS = ["training.precision=fp32"]
WIDTH = 12


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def files(tiny_corpus, tmp_path_factory):
    """Random vectors of the documents, and of the queries: near those of their documents."""
    folder, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    keys = [document.key for document in read_corpus(tiny_corpus)]
    vectors = dict(zip(keys, unit(rng.normal(size=(len(keys), WIDTH))), strict=True))
    queries = {}
    for name in ("train", "test"):
        for one in read_qrels(tiny_corpus / "qrels" / f"{name}.tsv"):
            noise = 0.1 * rng.normal(size=WIDTH)
            queries[one.query] = vectors[one.document] + noise
    write_vectors(folder / "d.safetensors", keys, list(vectors.values()))
    write_vectors(folder / "q.safetensors", list(queries), list(queries.values()))
    return folder, vectors, queries


@pytest.fixture(scope="module")
def untrained(tiny_corpus, files, tmp_path_factory):
    """A model of the document vectors alone."""
    corpus = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    corpus.write_bytes((tiny_corpus / "corpus.jsonl").read_bytes())
    out = tmp_path_factory.mktemp("model") / "m"
    return train(corpus, out=out, settings=SETTINGS, vectors=files[0] / "d.safetensors")


@pytest.fixture(scope="module")
def taught(tiny_corpus, files, tmp_path_factory):
    """A model of vectors of documents and train queries."""
    return train(
        tiny_corpus, out=tmp_path_factory.mktemp("model") / "m", settings=SETTINGS,
        vectors=files[0] / "d.safetensors", query_vectors=files[0] / "q.safetensors",
    )  # fmt: skip


def test_vectors_alone_rank_by_cosine(untrained, files):
    vectors = files[1]
    asked = np.random.default_rng(1).normal(size=(5, WIDTH))
    keys = np.array(list(vectors))
    found = untrained.search(None, k=40, vectors=asked)
    for query, hits in zip(asked, found, strict=True):
        cosines = np.stack(list(vectors.values())) @ unit(query)
        assert [hit.key for hit in hits] == keys[np.argsort(-cosines)].tolist()
    again = untrained.search([""] * 5, k=40, vectors=3 * asked)
    assert [[hit.key for hit in hits] for hits in again] == [
        [h.key for h in hits] for hits in found
    ]


def test_texts_alone_rank_by_words_and_both_are_added(untrained, files):
    words = untrained.search("erase a directory", k=3)[0]
    assert len(words) == 3
    model = untrained.model
    vector = files[1]["copy-file"]
    stage = untrained.decoder.stage
    (both,), (dense,), (text,) = (
        model.level_scores(model.encode(*stage.encode([query])), 0)
        for query in (
            VectorQuery("erase a directory", vector.astype(np.float32)),
            VectorQuery("", vector.astype(np.float32)),
            "erase a directory",
        )
    )
    np.testing.assert_allclose(both, dense + text, atol=1e-5)
    assert text.abs().max() > 0 < dense.abs().max()


def test_a_loaded_model_answers_the_same(untrained, files):
    again = Retriever.load(untrained.folder, "cpu")
    vector = files[1]["copy-file"]
    for retriever in (untrained, again):
        assert retriever.search(None, k=1, vectors=vector)[0][0].key == "copy-file"
    exact = again.search("", k=3, vectors=vector, exact=True)[0]
    assert exact.proven and exact[0].key == "copy-file"


def test_rows_are_means_with_the_vectors_of_train_queries(taught, files, tiny_corpus):
    _, vectors, queries = files
    judged = read_qrels(tiny_corpus / "qrels" / "train.tsv")
    metrics = json.loads(taught.attachments["metrics.json"])
    assert metrics["steps"] == 0 and not metrics["dev"]["made_up"]
    row = dict(zip(taught.table.keys, taught.model.head.row_vectors().numpy(), strict=True))
    used = 0
    for key, vector in vectors.items():
        own = [unit(queries[one.query]) for one in judged if one.document == key]
        # Dev queries are held out.
        sums = [vector + sum(own), *(vector + one for one in own), vector]
        nearest = max(float(unit(one) @ row[key]) for one in sums)
        assert nearest > 1 - 1e-5
        used += float(unit(sums[0]) @ row[key]) > 1 - 1e-5
    assert used > len(vectors) / 2
    assert taught.model.word_weight != TRAINED_WEIGHT


def test_words_weigh_less_where_all_cosines_are_high(untrained, files, tmp_path):
    assert untrained.model.unrelated_similarity < 0.25
    assert untrained.model.word_weight == pytest.approx(1.8)
    shift = 0.5 * np.ones(WIDTH)  # cosines around 0.75
    vectors = np.stack(list(files[1].values())) + shift
    write_vectors(tmp_path / "d.safetensors", list(files[1]), vectors)
    documents = [{"_id": key, "text": key} for key in files[1]]
    made = train(
        documents, out=tmp_path / "m", settings=SETTINGS, vectors=tmp_path / "d.safetensors"
    )
    spread = 1 - float(made.model.unrelated_similarity)
    assert 0.1 < spread < 0.5
    assert made.model.word_weight == pytest.approx(2.4 * spread)


def test_a_text_encoder_answers_vectors_and_texts_alike(tiny_folder):
    retriever = Retriever.load(tiny_folder("atomic"), "cpu")
    texts = ["copy a file", "erase"]
    vectors = retriever.model.encoder.embed(texts, "query")
    plain = retriever.search(texts, k=5)
    given = retriever.search(texts, k=5, vectors=vectors)
    mixed = retriever.search([VectorQuery("copy a file", vectors[0]), "erase"], k=5)
    for found in (given, mixed):
        for one, other in zip(plain, found, strict=True):
            assert [hit.key for hit in one] == [hit.key for hit in other]
            scores = [[hit.score for hit in hits] for hits in (one, other)]
            np.testing.assert_allclose(*scores, atol=0.02)  # bfloat16


def test_vectors_with_a_named_encoder_start_its_rows(tiny_encoder, tiny_corpus, tmp_path):
    rows = list(read_corpus(tiny_corpus))
    vectors = np.random.default_rng(2).normal(size=(len(rows), 16))
    write_vectors(tmp_path / "d.safetensors", [one.key for one in rows], vectors)
    settings = [*SETTINGS, f"model.encoder={json.dumps(str(tiny_encoder))}", "training.max_steps=0",
                "training.epochs=0.01"]  # fmt: skip
    made = train(rows, out=tmp_path / "m", settings=settings, vectors=tmp_path / "d.safetensors")
    np.testing.assert_allclose(made.model.head.row_vectors(), unit(vectors), atol=1e-5)
    assert made.search("copy a file", k=1)
    narrow = [*settings[:2], *settings[2:]]
    write_vectors(tmp_path / "n.safetensors", [one.key for one in rows], vectors[:, :8])
    with pytest.raises(InputError, match="the vectors have 8 numbers, those of the encoder"):
        train(rows, out=tmp_path / "n", settings=narrow, vectors=tmp_path / "n.safetensors")


def test_wrong_vectors_of_a_search(untrained, tiny_folder):
    with pytest.raises(InputError, match="a query's has 3 numbers, the model's 12"):
        untrained.search(None, vectors=[1.0, 2.0, 3.0])
    seq2seq = Retriever.load(tiny_folder("url"), "cpu")
    with pytest.raises(InputError, match="'seq2seq' reads text only"):
        seq2seq.search(None, vectors=np.ones(12))
    with pytest.raises(InputError, match="reads texts only"):
        seq2seq.add({"_id": "new", "text": "new"}, vectors={"new": np.ones(12)})


def test_documents_are_added_with_their_vectors(untrained, tmp_path):
    shutil.copytree(untrained.folder, tmp_path / "m")
    retriever = Retriever.load(tmp_path / "m", "cpu")
    vector = np.random.default_rng(3).normal(size=WIDTH)
    with pytest.raises(InputError, match="document 'new': no vector; give a vector of 12 numbers"):
        retriever.add({"_id": "new", "text": "Polish a lens."})
    with pytest.raises(InputError, match="document 'new': a vector of 2 numbers"):
        retriever.add({"_id": "new", "text": "Polish a lens."}, vectors={"new": [1, 2]})
    retriever.add({"_id": "new", "text": "Polish a lens."}, vectors={"new": vector})
    for one in (retriever, Retriever.load(tmp_path / "m", "cpu")):
        assert one.search(None, k=1, vectors=vector)[0][0].key == "new"
        assert one.search("lens", k=1)[0][0].key == "new"
    retriever.replace({"_id": "new", "text": "Polish a lens."}, vectors={"new": -vector})
    assert retriever.search(None, k=1, vectors=-vector)[0][0].key == "new"
    retriever.delete("new")
    assert retriever.search("lens", k=1)[0][0].key != "new"


def test_the_verb_add_reads_vectors(untrained, tmp_path, capsys):
    shutil.copytree(untrained.folder, tmp_path / "m")
    (tmp_path / "new.jsonl").write_text('{"_id": "new", "text": "Polish a lens."}\n')
    vector = np.random.default_rng(3).normal(size=(1, WIDTH))
    np.save(tmp_path / "new.npy", vector)
    arguments = ["add", str(tmp_path / "m"), str(tmp_path / "new.jsonl")]
    assert run(*arguments) == 2
    assert "no vector" in capsys.readouterr().err
    assert run(*arguments, "--vectors", tmp_path / "new.npy") == 0
    found = Retriever.load(tmp_path / "m", "cpu").search(None, k=1, vectors=vector)
    assert found[0][0].key == "new"


def test_residual_codes_are_fitted_on_given_vectors(tiny_corpus, files, tmp_path):
    settings = [*SETTINGS, "identifiers.levels=2", "identifiers.codes=8"]
    retriever = train(
        tiny_corpus, "residual", out=tmp_path / "m", settings=settings,
        vectors=files[0] / "d.safetensors", query_vectors=files[0] / "q.safetensors",
    )  # fmt: skip
    found = retriever.search(None, k=5, vectors=np.stack(list(files[1].values())))
    hits = [key in [hit.key for hit in own] for key, own in zip(files[1], found, strict=True)]
    assert np.mean(hits) > 0.7
    Retriever.load(tmp_path / "m", "cpu")


def test_resuming_notices_other_vectors(tiny_corpus, files, tmp_path):
    folder, vectors, _ = files
    path, keys, rows = tmp_path / "d.safetensors", list(vectors), list(vectors.values())
    path.write_bytes((folder / "d.safetensors").read_bytes())
    train(tiny_corpus, out=tmp_path / "m", settings=SETTINGS, vectors=path)
    train(tiny_corpus, out=tmp_path / "m", settings=SETTINGS, vectors=path, resume=True)
    write_vectors(path, keys, rows[::-1])
    with pytest.raises(InputError, match=r"d\.safetensors"):
        train(tiny_corpus, out=tmp_path / "m", settings=SETTINGS, vectors=path, resume=True)


def test_evaluation_needs_the_vectors_of_the_queries(
    untrained, files, tiny_corpus, tmp_path, capsys
):
    asked = ["evaluate", str(untrained.folder), "--queries", str(tiny_corpus / "queries.jsonl"),
             "--qrels", str(tiny_corpus / "qrels" / "test.tsv")]  # fmt: skip
    assert run(*asked) == 2
    assert "--query-vectors: this model has no encoder" in capsys.readouterr().err
    out = tmp_path / "e.json"
    given = ["--query-vectors", str(files[0] / "q.safetensors"), "--json", str(out)]
    assert run(*asked, *given) == 0
    captured = capsys.readouterr()
    assert "typos: left out" in captured.err
    assert json.loads(out.read_text())["systems"]["dense"]["RR@10"] > 0.95
    assert all(name in captured.out for name in ("genir", "bm25", "dense", "rrf", "convex"))
    measured = evaluate(
        untrained, tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv",
        ["RR@10"], query_vectors=files[0] / "q.safetensors",
    )  # fmt: skip
    assert measured.measures["RR@10"] > 0.95
    assert len(read_queries(tiny_corpus / "queries.jsonl")) > len(measured.per_query)


def test_evaluation_from_python_needs_the_vectors_too(untrained):
    with pytest.raises(InputError, match="query_vectors: this model has no encoder of its own"):
        evaluate(untrained, {"q": "copy"}, {"q": {"copy-file": 1}})


def test_train_queries_without_vectors_are_named(tiny_corpus, files, tmp_path, capsys):
    made = train(
        tiny_corpus, out=tmp_path / "m", settings=SETTINGS, vectors=files[0] / "d.safetensors"
    )
    shown = " ".join(capsys.readouterr().err.split())
    assert "The train queries have no vectors and are not used" in shown
    assert "Dev queries have no vectors: dev figures are by words alone" in shown
    np.testing.assert_allclose(made.model.head.row_vectors(), list(files[1].values()), atol=1e-5)
    train(
        tiny_corpus, out=tmp_path / "q", settings=SETTINGS, vectors=files[0] / "d.safetensors",
        query_vectors=files[0] / "q.safetensors",
    )  # fmt: skip
    shown = " ".join(capsys.readouterr().err.split())
    assert "the mean of the vectors of its document and of its train queries" in shown
    assert "have no vectors" not in shown


def test_recipes_that_do_not_fit_given_vectors(tiny_corpus, files, tmp_path):
    path = str(files[0] / "d.safetensors")
    for settings, message in (
        (["model.encoder=vectors"], "needs the key vectors"),
        (["model.encoder=vectors", f"model.vectors={path}x"], "no such file"),
        ([f"model.query_vectors={path}"], "reads the queries itself"),
        (
            ["model.encoder=vectors", f"model.vectors={path}", "model.term_set_size=4"],
            "text encoder",
        ),
    ):
        with pytest.raises(InputError, match=message):
            resolve(TrainingJob("default", tiny_corpus, tmp_path / "m", settings=settings))
    with pytest.raises(InputError, match="give them to load_recipe"):
        train(tiny_corpus, load_recipe("default"), out=tmp_path / "m", vectors=path)


def test_a_model_of_given_vectors_is_not_refreshed(untrained, tmp_path, capsys):
    shutil.copytree(untrained.folder, tmp_path / "m")
    retriever = Retriever.load(tmp_path / "m", "cpu")
    retriever.add(Document("new", "Polish a lens."), vectors={"new": np.ones(WIDTH)})
    assert run("refresh", tmp_path / "m") == 2
    assert "nothing to refresh" in capsys.readouterr().err


def test_a_vector_without_text_is_not_reranked():
    scored = []

    class Longest:
        def score(self, pairs, batch_size):
            scored.extend(pairs)
            return [len(text) for _, text in pairs]

    hits = [Hit("a", -1.0, 1), Hit("b", -2.0, 2), Hit("c", -3.0, 3)]
    answers = [LazyHits(query, HitList(hits), ["x", "xxx", "xx"]) for query in ("", "text")]
    section = load_recipe("default").rerank.model_copy(update={"top_n": 3})
    found = rerank_answers(Longest(), section, answers, [2, 2])
    assert [[hit.key for hit in one.hits_without_snippets] for one in found] == [
        ["a", "b"],
        ["b", "c"],
    ]
    assert [one.texts for one in found] == [["x", "xxx"], ["xxx", "xx"]]
    assert {query for query, _ in scored} == {"text"}


def _dense_rr(model, files, corpus, capsys, *more):
    """Return RR@10 of the dense baseline on the test queries, and the notes."""
    out = model.parent / "e.json"
    arguments = ["--queries", str(corpus / "queries.jsonl"), "--baselines", "dense", "--qrels",
                 str(corpus / "qrels" / "test.tsv"), "--json", str(out), "--query-vectors",
                 str(files[0] / "q.safetensors"), "--latency-queries", "0", *more]  # fmt: skip
    assert run("evaluate", str(model), *arguments) == 0
    found = json.loads(out.read_text())["systems"]["dense"]["RR@10"]
    return found, capsys.readouterr().err


def _judged_documents(corpus):
    return {one.document for one in read_qrels(corpus / "qrels" / "test.tsv")}


def test_dense_finds_rows_without_keys_after_changes(tiny_corpus, files, tmp_path, capsys):
    keys = list(files[1])
    np.save(tmp_path / "d.npy", np.stack(list(files[1].values())))
    rows = list(read_corpus(tiny_corpus))
    retriever = train(rows, out=tmp_path / "m", settings=SETTINGS, vectors=tmp_path / "d.npy")
    gone = next(key for key in keys if key not in _judged_documents(tiny_corpus))
    retriever.delete(gone)
    assert _dense_rr(tmp_path / "m", files, tiny_corpus, capsys)[0] > 0.95
    retriever.add({"_id": "new", "text": "Polish a lens."}, vectors={"new": files[1][gone]})
    asked = ["evaluate", str(tmp_path / "m"), "--queries", str(tiny_corpus / "queries.jsonl"),
             "--qrels", str(tiny_corpus / "qrels" / "test.tsv"), "--baselines", "dense",
             "--query-vectors", str(files[0] / "q.safetensors")]  # fmt: skip
    assert run(*asked) == 2
    assert "'new' was added or replaced after the training" in capsys.readouterr().err
    retriever.delete("new")
    retriever.compact()  # forgets the deleted documents, and so the order of the file
    assert run(*asked) == 2
    assert "40 vectors for 39 keys" in capsys.readouterr().err.replace("\n", " ")


def test_dense_notices_another_file_of_vectors(tiny_corpus, files, tmp_path, capsys):
    path, keys = tmp_path / "d.safetensors", list(files[1])
    rows = np.stack(list(files[1].values()))
    write_vectors(path, keys, rows)
    documents = list(read_corpus(tiny_corpus))
    retriever = train(documents, out=tmp_path / "m", settings=SETTINGS, vectors=path)
    found, notes = _dense_rr(tmp_path / "m", files, tiny_corpus, capsys)
    assert found > 0.95 and "has changed" not in notes
    retriever.add({"_id": "new", "text": "Polish a lens."}, vectors={"new": np.ones(WIDTH)})
    write_vectors(path, [*keys, "new"], [*rows, np.ones(WIDTH)])
    found, notes = _dense_rr(tmp_path / "m", files, tiny_corpus, capsys)
    assert found > 0.95 and "d.safetensors has changed since the training" in " ".join(
        notes.split()
    )
    write_vectors(path, [*keys, "new"], [[1.0]] * (len(keys) + 1))
    with pytest.raises(InputError, match="the vectors have 1 numbers, those of the model 12"):
        build_baselines(retriever, ["dense"])


def test_dense_embeds_documents_added_to_a_text_encoder(tiny_encoder, tiny_corpus, tmp_path):
    rows = list(read_corpus(tiny_corpus))
    vectors = unit(np.random.default_rng(2).normal(size=(len(rows), 16)))
    write_vectors(tmp_path / "d.safetensors", [one.key for one in rows], vectors)
    settings = [*SETTINGS, f"model.encoder={json.dumps(str(tiny_encoder))}"]
    made = train(rows, out=tmp_path / "m", settings=settings, vectors=tmp_path / "d.safetensors")
    made.add({"_id": "new", "title": "Lens", "text": "Polish a lens."})
    made.delete(rows[0].key)
    dense = build_baselines(made, ["dense"])["dense"]
    assert list(dense._keys) == [*(one.key for one in rows[1:]), "new"]
    np.testing.assert_allclose(dense.vectors[:-1], vectors[1:], atol=1e-5)
    own = made.model.encoder.embed("Lens. Polish a lens.", "document")[0]
    assert float(own @ dense.vectors[-1]) > 0.99
