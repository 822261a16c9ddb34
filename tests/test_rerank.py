"""Re-ranked search and evaluation: order, scores, filters, files and commands."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from rerankers import Rerankers, library_scores
from typer.testing import CliRunner

from genir.cli.verbs import app
from genir.config import Recipe, RerankSection
from genir.errors import InputError
from genir.evaluation.compare import Options
from genir.evaluation.explain import explain
from genir.evaluation.runner import compare_model
from genir.retriever import Retriever
from genir.serving.service import open_folder
from genir.training.recipe_checks import check_networks, recipe_options

QUERIES = ["clone a text", "how do i monitor a drive?", "erase"]


@pytest.fixture(scope="module")
def rerankers(tiny_encoder, tmp_path_factory):
    return Rerankers(tiny_encoder, tmp_path_factory.mktemp("rerankers"))


@pytest.fixture(scope="module")
def folder(tiny_folder):
    return tiny_folder("atomic")


@pytest.fixture(scope="module")
def plain(folder):
    return Retriever.load(folder, "cpu")


@pytest.fixture(scope="module")
def reranked(folder, rerankers):
    """Re-ranks ten hits."""
    retriever = Retriever.load(folder, "cpu")
    retriever.set_rerank(rerankers.write("bert"), 10)
    return retriever


def fields(hit):
    return replace(hit, score=0, rank=0)


def expected_scores(retriever, model, query, hits):
    """Return the library's scores of hits, by key."""
    found = retriever.documents.fetch([hit.key for hit in hits])
    pairs = [(query, f"{one.title}. {one.text}") for one in found.values()]
    return dict(zip(found, library_scores(model, pairs), strict=True))


@pytest.mark.parametrize("k", [1, 10, 25, 40, 99])
def test_order_and_scores(plain, reranked, rerankers, k):
    answers = reranked.search(QUERIES, k)
    before = plain.search(QUERIES, max(k, 10), beams=reranked.beam_width(k))
    for query, hits, old in zip(QUERIES, answers, before, strict=True):
        scores = expected_scores(plain, rerankers.write("bert"), query, old[:10])
        order = [*sorted(scores, key=lambda key: -scores[key]), *(hit.key for hit in old[10:])]
        assert [hit.key for hit in hits] == order[:k]
        assert [hit.rank for hit in hits] == [*range(1, min(k, 40) + 1)]
        assert [hit.score for hit in hits[:10]] == pytest.approx(
            [scores[key] for key in order[: min(k, 10)]], abs=1e-5
        )
        assert all(a.score >= b.score for a, b in pairwise(hits))
        known = {hit.key: fields(hit) for hit in old}
        assert [fields(hit) for hit in hits] == [known[hit.key] for hit in hits]
        assert all(hit.title and hit.url and hit.snippet for hit in hits)
    assert [hit.key for hit in answers[0]] != [hit.key for hit in before[0][:k]]


def test_differences_of_the_other_scores_stay(plain, reranked):
    [old] = plain.search(QUERIES[0], 40)
    [new] = reranked.search(QUERIES[0], 40)
    gaps = [hit.score - old[9].score for hit in old[10:]]
    assert [hit.score - new[9].score for hit in new[10:]] == pytest.approx(gaps, abs=1e-5)


def test_batches_equal_single_queries_and_ks_differ(reranked):
    together = reranked.search(QUERIES, [3, 1, 12], beams=40)
    for query, k, hits in zip(QUERIES, (3, 1, 12), together, strict=True):
        [alone] = reranked.search(query, k, beams=40)
        assert [hit.key for hit in hits] == [hit.key for hit in alone] and len(hits) == k
        assert [h.score for h in hits] == pytest.approx([h.score for h in alone], abs=1e-5)


def test_filters_and_empty_hits(reranked):
    wheres = [{"verb": "copy"}, {"section": 99}, None]
    found = reranked.search(QUERIES, 7, wheres)
    assert [len(hits) for hits in found] == [5, 0, 7]
    assert {hit.key.partition("-")[0] for hit in found[0]} == {"copy"}


def test_proof_is_of_the_candidates(reranked):
    [hits] = reranked.search(QUERIES[0], 3, exact=True)
    assert hits.proven is True and len(hits) == 3


def test_beams_are_as_wide_as_the_candidates(plain, reranked):
    assert [plain.beam_width(3), reranked.beam_width(3), reranked.beam_width(12)] == [4, 10, 12]


def test_only_the_first_hits_are_scored(reranked):
    before = reranked.reranker.pairs
    reranked.search(QUERIES, [3, 40, 1])
    assert reranked.reranker.pairs == before + 30


def test_set_rerank(folder, rerankers, tmp_path):
    retriever = Retriever.load(folder, "cpu")
    first = [hit.key for hit in retriever.search(QUERIES[0], 5)[0]]
    assert retriever.reranker is None
    with pytest.raises(InputError, match=r"\[rerank\] model: cannot load .*no such folder"):
        retriever.set_rerank(str(tmp_path / "absent"))
    assert retriever.recipe.rerank == RerankSection()
    retriever.set_rerank(rerankers.write("monot5"), 20)
    second = [hit.key for hit in retriever.search(QUERIES[0], 5)[0]]
    assert second != first
    retriever.save(tmp_path / "model")
    loaded = Retriever.load(tmp_path / "model", "cpu")
    assert loaded.recipe.rerank == RerankSection(model=rerankers.write("monot5"), top_n=20)
    assert [hit.key for hit in loaded.search(QUERIES[0], 5)[0]] == second
    assert loaded.reranker is retriever.reranker  # loaded once
    loaded.set_rerank("")
    assert [hit.key for hit in loaded.search(QUERIES[0], 5)[0]] == first
    assert {path.name for path in (tmp_path / "model").rglob("*.safetensors")} == {
        path.name for path in folder.rglob("*.safetensors")
    }


def test_a_folder_whose_reranker_is_gone(folder, rerankers, tmp_path):
    model = tmp_path / "reranker"
    rerankers.bert(model)
    retriever = Retriever.load(folder, "cpu")
    retriever.set_rerank(str(model))
    retriever.save(tmp_path / "model")
    model.rename(tmp_path / "elsewhere")
    rerankers.bert(tmp_path / "other")
    retriever.set_rerank(str(tmp_path / "other"))  # the cache forgets the first
    loaded = Retriever.load(tmp_path / "model", "cpu")  # its documents can still be changed
    loaded.delete("copy-file")
    for search in (lambda: loaded.search("x"), lambda: open_folder(tmp_path / "model")):
        with pytest.raises(InputError, match=r"\[rerank\] model: cannot load .*reranker"):
            search()


def test_recipe_names_it_to_trainings(rerankers):
    recipe = Recipe.model_validate(
        {"name": "x", "tasks": [{"task": "queries"}]}
        | {"rerank": {"model": rerankers.write("three-labels")}}
    )
    assert rerankers.write("three-labels") in [
        name for one in recipe_options(recipe) for name in one.weights()
    ]
    with pytest.raises(InputError, match="it has 3 labels"):
        check_networks(recipe)


def test_evaluation_has_both(plain, reranked, tiny_corpus, rerankers):
    files = tiny_corpus / "queries.jsonl", tiny_corpus / "qrels" / "test.tsv"
    options = Options(typos=False, latency_queries=20)
    found = compare_model(reranked, *files, ["bm25"], options)
    assert found.systems == ["genir", "genir+rerank", "bm25"] == list(found.latency)
    alone = compare_model(plain, *files, ["bm25"], options)
    assert alone.systems == ["genir", "bm25"]
    assert found.overall.systems["genir"] == alone.overall.systems["genir"]
    text, hits = found.queries[0].text, found.answers["genir+rerank"][found.queries[0].key]
    assert [hit.key for hit in hits] == [hit.key for hit in reranked.search(text, 100)[0]]
    [note] = [note for note in found.notes if note.startswith("genir+rerank: ")]
    assert "pairs a second" in note and note.endswith("ms for 10 pairs.")
    named = compare_model(plain, *files, [], replace(options, rerank=rerankers.write("bert")))
    assert named.systems == ["genir", "genir+rerank"] and plain.reranker is None
    dropped = compare_model(reranked, *files, [], replace(options, rerank=""))
    assert dropped.systems == ["genir"] and reranked.reranker is not None


def test_commands(folder, rerankers, tiny_corpus, plain, tmp_path):
    def run(*words):
        return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False).output

    named = ("--rerank", rerankers.write("bert"))
    shown = run("search", folder, QUERIES[0], "-k", 2, *named)
    assert "re-ranked: " in shown and "ms for 50 pairs" in shown
    [expected] = plain.search(QUERIES[0], 40)
    scores = expected_scores(plain, rerankers.write("bert"), QUERIES[0], expected)
    found = json.loads(run("search", folder, QUERIES[0], "-k", 2, *named, "--json"))["hits"]
    assert [hit["key"] for hit in found] == sorted(scores, key=lambda key: -scores[key])[:2]
    out = tmp_path / "figures.json"
    files = ("--queries", tiny_corpus / "queries.jsonl")
    files += ("--qrels", tiny_corpus / "qrels" / "test.tsv")
    run("evaluate", folder, *files, "--baselines", "", "--no-typos", "--json", out, *named)
    assert "genir+rerank" in out.read_text()


def test_explanations_follow_the_search_for_candidates(plain, reranked):
    """The beams are as wide as those of the search, so a re-ranked hit was not pruned."""
    [hits] = reranked.search(QUERIES[0], 1)
    widths = [explain(one, QUERIES[0], hits[0].key).beams for one in (plain, reranked)]
    assert widths == [4, 10]
