"""POST /v1/sync: the documents of the folder that the server was started with."""

import shutil

import pytest
from living import keys, serving
from tiny import small

from genir.api import train
from genir.errors import InputError
from genir.serving.server import serve
from genir.serving.settings import Settings
from genir.serving.tokens import TokenSpec, new_token


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("sync")
    write(
        place / "site", **{f"page-{n}": f"# Page {n}\n\nErase drive number {n}." for n in range(6)}
    )
    train(place / "site", out=place / "model", settings=small("default", tiny_encoder, place),
          base_url="https://x.org/docs")  # fmt: skip
    return place


@pytest.fixture
def place(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "place")


def write(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)


def test_the_folder_is_applied_as_one_version(place):
    site = place / "site"
    with serving(place / "model", Settings(sync_folder=site)) as client:
        write(site, new="# New\n\nShips.", **{"page-0": "# Page 0\n\nTrains."})
        (site / "page-1.md").rename(site / "moved.md")
        (site / "page-2.md").unlink()
        expected = {"added": ["new.md"], "changed": ["page-0.md"], "deleted": ["page-2.md"],
                    "renamed": {"page-1.md": "moved.md"}, "unchanged": 3}  # fmt: skip
        planned = client.post("/v1/sync", json={"dry_run": True})
        assert planned.json() == expected | {"version": 0} and len(keys(client)) == 6
        done = client.post("/v1/sync", json={})
        assert (done.status_code, done.json()) == (200, expected | {"version": 1})
        assert sorted(keys(client)) == [
            "moved.md",
            "new.md",
            *(f"page-{n}.md" for n in (0, 3, 4, 5)),
        ]
        assert client.get("/v1/documents/new.md").json()["url"] == "https://x.org/docs/new"
        assert client.post("/v1/sync", json={}).json()["version"] == 1
        assert [one["kind"] for one in client.get("/v1/versions").json()["versions"]][1:] == [
            "sync"
        ]


def test_a_bad_folder_changes_nothing(place):
    site = place / "site"
    with serving(place / "model", Settings(sync_folder=site)) as client:
        write(site, new="# New\n\nShips.", bad="")
        refused = client.post("/v1/sync", json={})
        assert refused.status_code == 422 and "bad.md: an empty text" in refused.json()["detail"]
        shutil.rmtree(site)
        write(site, only="# Only\n\nOne page.")
        refused = client.post("/v1/sync", json={})
        assert refused.status_code == 422 and "6 of 6 documents" in refused.json()["detail"]
        shutil.rmtree(site)
        assert client.post("/v1/sync", json={}).status_code == 422
        assert len(keys(client)) == 6


def test_no_request_names_a_folder(place):
    with serving(place / "model", Settings()) as client:
        refused = client.post("/v1/sync", json={})
        assert refused.status_code == 422 and "--sync-folder" in refused.json()["detail"]
    with serving(place / "model", Settings(sync_folder=place / "site")) as client:
        for body in ({"folder": "/etc"}, {"dry_run": "yes"}, None):
            assert client.post("/v1/sync", json=body).status_code in (415, 422)


def test_only_an_unscoped_write_token_may_do_it(place):
    file, secrets = place / "tokens.json", {}
    for name, role, where in (("all", "write", None), ("reader", "read", None),
                              ("scoped", "write", {"lang": "en"})):  # fmt: skip
        secrets[name] = new_token(file, TokenSpec(name, role, where))
    settings = Settings(tokens=file, sync_folder=place / "site")
    with serving(place / "model", settings, loopback=False) as client:

        def status(secret):
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            return client.post("/v1/sync", json={}, headers=headers).status_code

        asked = {"all": 200, "reader": 403, "scoped": 403, "wrong": 401, "": 401}
        assert {name: status(secrets.get(name, name)) for name in asked} == asked


def test_a_missing_folder_is_refused_at_the_start(place):
    with pytest.raises(InputError, match="none: no such file or folder"):
        serve(place / "model", settings=Settings(sync_folder=place / "none"))
