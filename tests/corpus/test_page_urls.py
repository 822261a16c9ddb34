"""URLs of pages, and the change of their base URL."""

import pytest

from genir.corpus.page_urls import move_url, page_url
from genir.corpus.readers import read_corpus

BASE = "https://x.org/docs"


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("a b.md", "a%20b"),
        ("index.md", ""),
        ("README.md", ""),
        ("guide/index.html", "guide/"),
        ("guide/README.md", "guide/"),
        ("guide/reindex.md", "guide/reindex"),
        ("index/x.md", "index/x"),
    ],
)
@pytest.mark.parametrize("base", [BASE, f"{BASE}/", ""])
def test_front_pages_have_the_url_of_their_folder(base, key, url):
    assert page_url(base, key) == (f"{BASE}/{url}" if base else url or "./")


def test_a_readme_beside_an_index_is_a_page_like_others(tmp_path):
    for name in ("index.html", "README.md", "a/README.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<p>words</p>")
    urls = {one.key: one.url for one in read_corpus(tmp_path, BASE)}
    assert urls == {
        "README.md": f"{BASE}/README",
        "a/README.txt": f"{BASE}/a/",
        "index.html": f"{BASE}/",
    }


@pytest.mark.parametrize(
    ("url", "old", "new", "moved"),
    [
        ("https://x.org/docs/a/b#c", BASE, "https://y.org", "https://y.org/a/b#c"),
        ("https://x.org/docs/", BASE, "https://y.org/", "https://y.org/"),
        ("https://x.org/docs", f"{BASE}/", "https://y.org", "https://y.org/"),
        ("https://x.org/docs-2/a", BASE, "https://y.org", "https://x.org/docs-2/a"),
        ("guide/a", "", "https://y.org/docs", "https://y.org/docs/guide/a"),
        ("./", "", "https://y.org", "https://y.org/"),
        ("https://z.org/a", "", "https://y.org", "https://z.org/a"),
        ("//z.org/a", "", "https://y.org", "//z.org/a"),
        ("http://[", "", "https://y.org", "http://["),
        ("https://x.org/docs/a/", BASE, "", "a/"),
        ("https://x.org/docs/", BASE, "", "./"),
        ("", BASE, "https://y.org", ""),
    ],
)
def test_a_base_url_is_replaced(url, old, new, moved):
    assert move_url(url, old, new) == moved
