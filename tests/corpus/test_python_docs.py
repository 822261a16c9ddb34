import re
import sys

import pytest

from genir.corpus.python_docs import (
    EXCLUDED_MODULES,
    MIN_DOC_CHARS,
    Modules,
    documents_of,
    import_modules,
    make_python_docs,
)
from genir.corpus.readers import read_corpus, read_qrels, read_queries
from genir.errors import InputError


@pytest.fixture(scope="module")
def modules():
    return import_modules()


@pytest.fixture(scope="module")
def documents(modules):
    return {document.key: document for document in documents_of(modules)}


def test_it_covers_common_questions(documents):
    wanted = {
        "shutil.copytree", "os.path.join", "asyncio.run", "len", "str.join", "json.dumps", "json",
        "socket.socket.connect", "bisect.bisect_left", "pathlib.Path.mkdir",
    }  # fmt: skip
    assert not wanted - documents.keys()
    assert 4000 < len(documents) < 8000


def test_entries_are_complete_and_unique(documents):
    assert list(documents) == sorted(documents)
    assert len({d.text for d in documents.values()}) == len(documents)
    for document in documents.values():
        assert len(document.text) >= MIN_DOC_CHARS
        assert document.title.startswith(document.key)
        assert " at 0x" not in document.title
        assert document.url.startswith("https://docs.python.org/3/library/")


def test_titles_and_urls(documents):
    library = "https://docs.python.org/3/library"
    assert documents["shutil.copytree"].title.startswith("shutil.copytree(src, dst, symlinks")
    assert documents["shutil.copytree"].url == f"{library}/shutil.html#shutil.copytree"
    assert documents["shutil.copytree"].metadata == {"module": "shutil", "kind": "function"}
    assert documents["shutil"].url == f"{library}/shutil.html#module-shutil"
    assert documents["str.join"].url == f"{library}/stdtypes.html#str.join"
    assert documents["len"].url == f"{library}/functions.html#len"
    assert documents["ImportError"].url == f"{library}/exceptions.html#ImportError"


def test_nothing_unsafe_is_imported(modules):
    assert not set(modules.imported) & EXCLUDED_MODULES
    assert not {"antigravity", "this", "turtledemo"} & set(sys.modules)
    assert all("test" not in name.split(".") for name in modules.imported)
    assert modules.skipped["winreg" if sys.platform != "win32" else "readline"]


def test_packages(documents):
    modules = import_modules(["pluggy"])
    own = Modules({k: v for k, v in modules.imported.items() if k.startswith("pluggy")}, {})
    keys = {d.key: d for d in documents_of(own)}
    assert keys["pluggy.PluginManager"].url == ""
    with pytest.raises(InputError, match=r"'nonesuch' cannot be imported .*No module named"):
        import_modules(["nonesuch"])


def test_the_folder_reads_back_and_holds_no_query(tmp_path):
    made, modules = make_python_docs(tmp_path / "docs")
    documents = list(read_corpus(tmp_path / "docs"))
    queries = read_queries(tmp_path / "docs")
    assert documents == made.documents
    card = (tmp_path / "docs" / "README.md").read_text()
    assert "From the documentation itself" in card
    assert all(name in card for name in modules.skipped)
    texts = "\n".join(" ".join(d.text.split()) for d in documents)
    assert [q.text for q in queries.values() if q.text in texts] == []
    asked = {}
    for split in ("train", "test"):
        qrels = read_qrels(
            tmp_path / f"docs/qrels/{split}.tsv", queries, {d.key for d in documents}
        )
        asked[split] = {q.query for q in qrels}
        assert len(qrels) > 300
    assert not asked["train"] & asked["test"]
    assert all(re.search(r"\w", q.text) for q in queries.values())
    with pytest.raises(InputError, match="exists"):
        make_python_docs(tmp_path / "docs")
