"""Insertions and deletions with a model on another device than the CPU."""

import pytest
from tiny import SCHEMES, tiny_retriever

from genir.corpus.serialization import document_of
from genir.retriever import Retriever


@pytest.mark.parametrize("scheme", SCHEMES)
def test_documents_come_and_go_there(scheme, device, tiny_encoder, tiny_corpus, tmp_path):
    path, folder = tmp_path / "documents.sqlite", tmp_path / "model"
    made = tiny_retriever(tiny_encoder, tiny_corpus, path, scheme).to(device)
    asked = {"copy-file": ["duplicate a document"]}
    made.protect_queries(asked)
    made.save(folder)
    retriever = Retriever.load(folder)
    retriever.add([document("a", "hide the volume of a host"), document("b", "pack one program")])
    retriever.replace([document("copy-file", "something else")])
    retriever.delete(retriever.table.keys[3:9])
    every = keys_of(retriever)
    assert len(every) == 36 and {"a", "b", "copy-file"} <= every
    retriever.compact()
    assert every == keys_of(retriever) == keys_of(Retriever.load(folder))


def document(key, text):
    record = {"_id": key, "title": f"{key} title", "text": text}
    return document_of({"url": f"https://docs.example.org/new/{key}"} | record, "test")


def keys_of(retriever):
    return {hit.key for hit in retriever.search(["hide the volume"], 100)[0]}
