"""Fixtures: a model and its server in this process."""

import pytest
from fastapi.testclient import TestClient
from tiny import tiny_retriever

from genir.integrations.http import RemoteSearcher
from genir.serving.app import create_app


@pytest.fixture(scope="module")
def retriever(tiny_encoder, tiny_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    return tiny_retriever(tiny_encoder, tiny_corpus, folder / "d.sqlite", "residual")


@pytest.fixture(scope="module")
def remote(retriever):
    with TestClient(create_app(retriever)) as http:
        yield RemoteSearcher("http://testserver", http=http)


@pytest.fixture(params=["model", "server"])
def source(request, retriever, remote):
    return retriever if request.param == "model" else remote
