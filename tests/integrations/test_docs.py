"""docs/guides/clients.md and examples/: their code runs against a server."""

import re
import runpy
import shutil
import threading
from pathlib import Path

import pytest
import uvicorn

from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.server import bind
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "guides" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NEEDS = {
    "langchain": "langchain_core",
    "llamaindex": "llama_index.core",
    "haystack": "haystack",
    "pyterrier": "pyterrier",
}


@pytest.fixture(scope="module")
def server(tiny_folder, tmp_path_factory):
    """Yield the address and the secret of a guarded server on a real port."""
    folder = tmp_path_factory.mktemp("docs")
    retriever = Retriever.load(shutil.copytree(tiny_folder("residual"), folder / "model"), "cpu")
    secret = new_token(folder / "tokens.json", TokenSpec("me", "write"))
    app = create_app(retriever, settings=Settings(tokens=folder / "tokens.json"))
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", secret
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize(
    "block", BLOCKS, ids=["http", "langchain", "llamaindex", "haystack", "pyterrier"]
)
def test_a_block_of_the_page_runs(server, block, capsys):
    for client, package in NEEDS.items():
        if f"genir.integrations.{client}" in block:
            pytest.importorskip(package, reason=f"pip install 'genir[{client}]'")
    address, secret = server
    exec(block.replace("http://127.0.0.1:8000", address).replace("genir_...", secret), {})
    assert "copy-" in capsys.readouterr().out


def test_the_example_searches_adds_and_deletes(server, capsys, monkeypatch):
    address, secret = server
    monkeypatch.setenv("GENIR_TOKEN", secret)
    main = runpy.run_path(str(TOP / "examples" / "over_http.py"))["main"]
    for _ in range(2):  # it deleted its additions
        main(address, "clone a text")
        assert len(capsys.readouterr().out.splitlines()) == 6


def test_the_example_prints_refusals_of_the_server(server):
    main = runpy.run_path(str(TOP / "examples" / "over_http.py"))["main"]
    with pytest.raises(SystemExit, match="send a token"):
        main(server[0], "clone a text")
