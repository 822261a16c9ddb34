"""Teachers rank like the baselines; a dense teacher embeds a corpus once."""

from types import SimpleNamespace

import pytest

from genir.baselines.bm25 import Bm25
from genir.baselines.dense import Dense
from genir.baselines.fusion import Fusion
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.models.encoder import TextEncoder
from genir.training.losses.base import LossContext
from genir.training.losses.teachers import TeacherOptions, open_teacher

ASKED = ["erase a disk", "clone"]


@pytest.fixture
def setting(tiny_corpus, tmp_path):
    documents = DocumentStore.create(tmp_path / "documents.sqlite", read_corpus(tiny_corpus))
    model = SimpleNamespace(device="cpu")
    return LossContext(SimpleNamespace(documents=documents, model=model), tmp_path, tmp_path)


def test_teachers_rank_as_the_baselines(setting, tiny_encoder):
    documents = setting.retriever.documents
    bm25 = Bm25.fit(documents)
    dense = Dense.fit(documents, TextEncoder.pretrained(str(tiny_encoder)))
    expected = {"bm25": bm25, "dense": dense, "rrf": Fusion([bm25, dense])}
    for name, searcher in expected.items():
        options = TeacherOptions(teacher=name, encoder=str(tiny_encoder))
        assert open_teacher(options, setting).search(ASKED, 5) == searcher.search(ASKED, 5)


def test_a_dense_teacher_embeds_the_documents_once(setting, tiny_encoder, monkeypatch):
    options = TeacherOptions(teacher="dense", encoder=str(tiny_encoder))
    expected = open_teacher(options, setting).search(ASKED, 5)
    (kept,) = setting.work.glob(".teacher*")
    monkeypatch.setattr("genir.baselines.dense._embed", None)
    assert open_teacher(options, setting).search(ASKED, 5) == expected
    assert kept.name == ".teacher.safetensors"
