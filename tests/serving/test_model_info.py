"""Metadata fields on the model card."""

import shutil
import threading
from types import SimpleNamespace

import numpy as np
from living import serving

from genir.corpus.store import DocumentStore
from genir.serving.model_info import MAX_FIELD_NAMES, field_cards
from genir.types import Document


def test_values_have_the_types_of_the_documents(tmp_path):
    metadata = ({"flag": True, "n": 7, "code": "007"}, {"flag": False, "n": 1, "code": "true"})
    documents = [Document(str(n), "x", metadata=own) for n, own in enumerate(metadata)]
    store = DocumentStore.create(tmp_path / "documents.sqlite", documents)
    served = SimpleNamespace(documents=store, table=SimpleNamespace(keys=["0", "1"]))
    cards = {card.name: card for card in field_cards(served, np.array([0, 1]))}
    found = {name: (card.types, [one.value for one in card.values]) for name, card in cards.items()}
    assert found == {
        "code": (["text"], ["007", "true"]),
        "flag": (["boolean"], [False, True]),
        "n": (["number"], [1, 7]),
    }
    assert all(isinstance(one.value, bool) for one in cards["flag"].values)
    assert not any(isinstance(one.value, bool) for one in cards["n"].values)
    store.close()


def test_booleans_and_numbers_of_one_field_are_counted_apart(tmp_path):
    values = [True, 1, 1, False, 0, 1.0, "true"]
    documents = [Document(str(n), "x", metadata={"b": value}) for n, value in enumerate(values)]
    store = DocumentStore.create(tmp_path / "documents.sqlite", documents)
    served = SimpleNamespace(documents=store, table=SimpleNamespace(keys=[*map(str, range(7))]))
    (card,) = field_cards(served, np.arange(7))
    assert card.types == ["boolean", "number", "text"] and card.distinct == 5
    shown = [(repr(one.value), one.documents) for one in card.values]
    assert shown == [("1", 3), ("0", 1), ("False", 1), ("True", 1), ("'true'", 1)]
    store.close()


def test_only_the_fields_that_are_shown_are_typed(tmp_path, monkeypatch):
    documents = [
        Document("0", "x", metadata={"a": 1}),
        Document("1", "x", metadata={f"k{n:03}": n % 2 for n in range(200)}),
    ]
    store = DocumentStore.create(tmp_path / "documents.sqlite", documents)
    served = SimpleNamespace(documents=store, table=SimpleNamespace(keys=["0", "1"]))
    asked, types = [], store.field_types
    monkeypatch.setattr(store, "field_types", lambda name: asked.append(name) or types(name))
    names = [card.name for card in field_cards(served, np.array([1]))]
    assert names == asked == [f"k{n:03}" for n in range(24)]
    store.close()


def test_the_card_of_many_fields_is_bounded_and_leaves_the_model_s_thread_alone(
    model_folder, tmp_path, monkeypatch
):
    looked, threads, store = [], set(), DocumentStore
    names = [f"field-{n:05}" for n in range(20_000)]

    def values(self, field, most):
        looked.append(field)
        threads.add(threading.current_thread().name)
        return iter([("x" * 100, 0)])  # too long to be shown

    with serving(shutil.copytree(model_folder, tmp_path / "model")) as client:
        monkeypatch.setattr(store, "metadata_fields", lambda self: names)
        monkeypatch.setattr(store, "field_values", values)
        assert client.get("/v1/model").json()["fields"] == []
        body = {"query": "a", "where": {"feild-00007": 1}}
        unknown = client.post("/v1/search", json=body)
        assert unknown.status_code == 422
        assert "did you mean 'field-00007'" in unknown.json()["detail"]
    assert len(looked) == MAX_FIELD_NAMES and threads and "genir-model" not in threads
