# ruff: noqa: E501
"""Pages of each generator: text, anchors, URLs and navigation."""

import json

import pytest

from genir.corpus.page_folder import read_pages
from genir.corpus.sites.find import find_site
from genir.corpus.sites.javascript import config_objects
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def documents(folder, base_url=""):
    return {one.key: one for one in read_pages(folder, base_url, SkippedItems("x"))}


def sections(document):
    return [(one.level, one.title, one.anchor) for one in document.structure.sections]


def code(document):
    return [document.text[start:end].strip() for start, end in document.structure.code]


MKDOCS = """# Files { #the-files }

Text with a { .class } :material-check: icon and [link](other.md){ .md-button }.

!!! warning "Be *careful*"
    Inside the warning.

/// tip | Use `it`
    open: true

Inside the tip.

///

=== "Linux"
    ```sh
    apt install x
    ```

{* ../src/app.py ln[2:3] *}

--8<-- "part.md"
--8<-- "../../outside.md"

## Setup
## Setup
## Own { #own .x data-a="1" }
## It's `a.b()` & more
### Über 2
"""


def mkdocs(tmp_path, config="", page=MKDOCS):
    site = "site_name: My site\nsite_url: https://x.org/docs\n"
    write(tmp_path.parent, {"outside.md": "secret"})
    return write(
        tmp_path,
        {
            ".git/HEAD": "",
            "mkdocs.yml": f"{site}{config}",
            "src/app.py": "import a\nfirst = 1\nsecond = 2\nthird = 3\n",
            "docs/index.md": "# Home\n\nWelcome.\n",
            "docs/guide/files.md": page,
            "docs/guide/other.md": "# Other\n\ntext\n",
            "docs/part.md": "A part with [[no]] heading.\n",
        },
    )  # fmt: skip


def test_mkdocs_text_is_clean_and_code_is_marked(tmp_path):
    found = documents(mkdocs(tmp_path) / "docs")["guide/files.md"]
    assert found.title == "Files"
    lines = [line for line in found.text.split("\n") if line]
    assert lines[:12] == [
        "Files", "Text with a icon and link.", "Be careful", "Inside the warning.", "Use it",
        "Inside the tip.", "Linux", "apt install x", "first = 1", "second = 2",
        "A part with [[no]] heading.", "Setup",
    ]  # fmt: skip
    assert code(found) == ["apt install x", "first = 1\nsecond = 2"]
    assert "secret" not in found.text
    (link,) = found.links
    assert (found.text[link.start : link.end], link.target) == ("link", "guide/other.md")


def test_mkdocs_anchors_are_those_of_python_markdown(tmp_path):
    markdown = pytest.importorskip("markdown")
    found = documents(mkdocs(tmp_path) / "docs")["guide/files.md"]
    assert sections(found) == [
        (1, "Files", ""), (2, "Setup", "setup"), (2, "Setup", "setup_1"), (2, "Own", "own"),
        (2, "It's a.b() & more", "its-ab-more"), (3, "Über 2", "uber-2"),
    ]  # fmt: skip
    source = "## a_1\n## a\n## a\n## a\n## x { #a_2 }\n## ???\n## ???\n## *b* <i>c</i> &amp; d\n"
    built = markdown.markdown(source, extensions=["toc", "attr_list"])
    page = documents(mkdocs(tmp_path, page=f"Text.\n\n{source}") / "docs")["guide/files.md"]
    anchors = [one.anchor for one in page.structure.sections]
    assert anchors == [part.partition('"')[0] for part in built.split('<h2 id="')[1:]]


def test_mkdocs_configuration_gives_urls_titles_and_order(tmp_path):
    nav = "nav:\n  - guide/other.md\n  - Guide:\n    - Files: guide/files.md\n  - index.md\n"
    folder = mkdocs(tmp_path, nav + "extra: !ENV [A, b]\nx: !!python/name:os.system ''\n") / "docs"
    site = find_site(folder)
    assert (site.generator, site.title, site.base_url) == (
        "MkDocs",
        "My site",
        "https://x.org/docs",
    )
    found = documents(folder)
    assert list(found) == ["guide/other.md", "guide/files.md", "index.md", "part.md"]
    assert found["guide/files.md"].structure.navigation == ("Guide",)
    assert found["guide/files.md"].url == "https://x.org/docs/guide/files/"
    assert found["index.md"].url == "https://x.org/docs/"
    assert documents(folder, "https://y.org/z")["index.md"].url == "https://y.org/z/"
    below = documents(folder / "guide", "https://y.org/g")
    assert below["files.md"].url == "https://y.org/g/files/"
    whole = documents(tmp_path)
    assert whole["docs/index.md"].url == "https://x.org/docs/" and len(whole) == 4


@pytest.mark.parametrize(
    ("config", "anchor"),
    [
        ("[toc]", "uber-a-b"),
        ("\n  toc: {slugify: !!python/name:markdown.extensions.toc.slugify_unicode ''}", "über-a-b"),
        ("\n  - toc:\n      slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}",
         "über-a--b"),
    ],
)  # fmt: skip
def test_mkdocs_slugs_are_configured(tmp_path, config, anchor):
    folder = (
        mkdocs(tmp_path, f"markdown_extensions: {config}\n", "text\n\n## Über a / b\n") / "docs"
    )
    assert documents(folder)["guide/files.md"].structure.sections[0].anchor == anchor


def test_jinja_is_removed_with_a_plugin_for_macros(tmp_path):
    page = (
        "# T\n\nNow {{ version }}.{% if x %} Yes.{% endif %}{% for a in b %}{{ a }}!{% endfor %}\n"
    )
    page += "{% raw %}{{ kept }}{% endraw %}\n"
    plain = documents(mkdocs(tmp_path / "a", "", page) / "docs")["guide/files.md"].text
    assert "{{ version }}" in plain
    macros = documents(mkdocs(tmp_path / "b", "plugins: [search, macros]\n", page) / "docs")
    assert macros["guide/files.md"].text.split() == ["T", "Now", ".", "Yes.", "{{", "kept", "}}"]


def test_a_malformed_configuration_is_named(tmp_path):
    folder = mkdocs(tmp_path, "nav: [\n")
    with pytest.raises(InputError, match=r"mkdocs\.yml:\d+: not valid YAML .*; correct it"):
        documents(folder / "docs")


DOCUSAURUS = """---
title: Clean title
id: own-id
tags: [a]
---
import Tabs from '@theme/Tabs';
import {a,
  b} from 'x';

export const value = () => {

  return 1;
};

<Tabs values={[{label: 'x > y'}]}>
  <TabItem value="npm" label="The npm tab">

    ```js title="a.js"
    // highlight-next-line
    const a = <b>{c}</b>;
    ```

  </TabItem>
</Tabs>

:::note[Heads *up*]

Inside <Highlight color="#25c2a0">the note</Highlight>. {/* comment */}{' '}Sum {1 + 1} `{code}`.

:::

:::tip Old style
Tip text.
:::

## Hello, *World*! {#own}
## Hello, World!
## Hello, World!
## `jest.fn(x?)` <Badge/>
"""
CONFIG = """
// a comment {
const config: Config = {
  title: 'Jest', url: "https://x.org", baseUrl: '/base/',
  presets: [['classic', ({ docs: { path: '../pages', routeBasePath: 'guide',
    editUrl: ({path}) => { return `${path}`; } } }) satisfies Options]],
};
export default config;
"""


def docusaurus(tmp_path):
    sidebars = (
        "module.exports = {docs: ['z', {type: 'category', label: 'Cat', items: ['dir/own-id']}]}"
    )
    return write(
        tmp_path,
        {
            ".git/HEAD": "", "website/docusaurus.config.ts": CONFIG, "website/sidebars.js": sidebars,
            "pages/01-dir/2-page.mdx": DOCUSAURUS, "pages/z.md": "---\nslug: /last\n---\n# Z\n\nz\n",
            "pages/dir/index.md": "# Dir\n\ntext\n", "pages/_part.md": "part", "pages/d.md":
            "---\ndraft: true\n---\nx",
        },
    ) / "pages"  # fmt: skip


def test_docusaurus(tmp_path):
    found = documents(docusaurus(tmp_path))
    assert list(found) == ["z.md", "01-dir/2-page.mdx", "dir/index.md"]
    page = found["01-dir/2-page.mdx"]
    assert (page.title, page.url) == ("Clean title", "https://x.org/base/guide/dir/own-id")
    assert [found[key].url.removeprefix("https://x.org/base/guide/") for key in found] == [
        "last", "dir/own-id", "dir/"
    ]  # fmt: skip
    assert page.structure.navigation == ("Cat",)
    assert [line for line in page.text.split("\n") if line][:7] == [
        "The npm tab", "const a = <b>{c}</b>;", "Heads up", "Inside the note. Sum {code}.",
        "Old style", "Tip text.", "Hello, World!",
    ]  # fmt: skip
    assert code(page) == ["const a = <b>{c}</b>;"]
    assert [anchor for _, _, anchor in sections(page)] == [
        "own", "hello-world", "hello-world-1", "jestfnx"
    ]  # fmt: skip


def test_javascript_is_read_as_data():
    source = """const a = {x: f(1, {b: 2}), ...y, z() { return {q: 1}; }, 'k-l': `t`, n: 3,
    u: `a${b}`, s: 'a' + 'b', l: [1, x, {c: 'd'}], t: ({e: true}) as Foo, w, r: /* { */ 'it\\'s'}"""
    assert config_objects(source) == [
        {"x": None, "k-l": "t", "n": 3, "u": None, "s": None, "l": [1, None, {"c": "d"}],
         "t": {"e": True}, "r": "it's"}
    ]  # fmt: skip
    assert config_objects("module.exports = {a: 1") == [{"a": 1}]
    for broken in ("const a = {" * 100, "const a = {;;;", "const a = {a: [" * 60, "/*" * 1000, ""):
        config_objects(broken)


RST = """.. _top:

A *clean* title
===============

Use :class:`~flask.Flask`, :ref:`the guide <guide>`, `plain` and ``code``.

.. note:: Short note

   With `a link <https://x.org>`_.

.. toctree::

   sub/page

.. code-block:: python
   :caption: x

   x = 1

.. literalinclude:: ../src/app.py
.. literalinclude:: ../../outside.md

.. py:currentmodule:: pkg

.. class:: Thing(a)

   About it.

   .. method:: run()

      Runs.

.. unknown:: argument
   :option: 1

   Inner text.

Section: 1st!
-------------

Section: 1st!
-------------

.. comment
"""
MYST = """(my-target)=
# MyST page

% a comment

Use {ref}`the top <top>` and {doc}`page`.

```{note} Title here
:class: x

Inside **it**.
```

:::{tip}
A tip.
:::

```{toctree}
hidden
```

```{code-block} python
:linenos:
y = 2
```

(explicit)=
## Heading
## Heading
"""


def test_sphinx(tmp_path):
    write(tmp_path.parent, {"outside.md": "secret"})
    folder = write(
        tmp_path,
        {
            ".git/HEAD": "", "src/app.py": "app = 1\n",
            "docs/conf.py": "project = 'P'\nextensions = []\nhtml_baseurl = 'https://x.org/'\n"
            "exclude_patterns = ['old']\nraise SystemExit(1)\n",
            "docs/index.rst": RST, "docs/sub/page.md": MYST, "docs/old/gone.rst": "Gone\n====\n\nx\n",
        },
    ) / "docs"  # fmt: skip
    found = documents(folder)
    assert list(found) == ["index.rst", "sub/page.md"]
    page = found["index.rst"]
    assert (page.title, page.url) == ("A clean title", "https://x.org/")
    assert [line for line in page.text.split("\n") if line] == [
        "A clean title", "Use Flask, the guide, plain and code.", "Short note", "With a link.",
        "x = 1", "app = 1", "Thing(a)", "About it.", "run()", "Runs.", "argument", "Inner text.",
        "Section: 1st!", "Section: 1st!",
    ]  # fmt: skip
    assert [anchor for _, _, anchor in sections(page)] == [
        "", "pkg.Thing", "pkg.Thing.run", "section-1st", "id1"
    ]  # fmt: skip
    assert code(page) == ["x = 1", "app = 1"]
    page = found["sub/page.md"]
    assert (page.title, page.url) == ("MyST page", "https://x.org/sub/page.html")
    assert page.structure.navigation == ()
    assert [line for line in page.text.split("\n") if line] == [
        "MyST page", "Use the top and page.", "Title here", "Inside it.", "A tip.", "y = 2",
        "Heading", "Heading",
    ]  # fmt: skip
    assert [anchor for _, _, anchor in sections(page)] == ["", "explicit", "heading"]


HUGO = """+++
title = "Hugo page"
+++
{{% include "/_common/part.md" %}}

{{< note title="Watch out" >}}
Inside [x]({{< relref "other.md" >}}).
{{< /note >}}

{{< highlight go >}}
fmt.Println("{{ .X }}")
{{< /highlight >}}

{{</* literal */>}} {{< figure src="a.png" >}}

## A [link](https://x.org) *here*
## Setup {#own}
## Setup
## Setup
## Dash -- x
## ![alt](a.png) b & c
"""


def test_hugo(tmp_path):
    folder = write(
        tmp_path,
        {
            "hugo.toml": "baseURL = 'https://x.org/'\ntitle = 'H'\n[params]\n",
            "content/Docs/_index.md": "---\ntitle: The docs\n---\nIntro.\n",
            "content/Docs/My Page.md": HUGO,
            "content/Docs/draft.md": "+++\ndraft = true\n+++\nx\n",
            "content/_common/part.md": "---\na: 1\n---\nIncluded part.\n",
            "content/empty.md": "---\ntitle: Empty\n---\n",
        },
    ) / "content"  # fmt: skip
    found = documents(folder)
    assert list(found) == ["Docs/_index.md", "Docs/My Page.md"]
    page = found["Docs/My Page.md"]
    assert (page.title, page.url) == ("Hugo page", "https://x.org/docs/my-page/")
    assert found["Docs/_index.md"].url == "https://x.org/docs/"
    assert page.structure.navigation == ("The docs",)
    assert [line for line in page.text.split("\n") if line][:5] == [
        "Included part.", "Watch out", "Inside x.", 'fmt.Println("{{ .X }}")', "{{< literal >}}"
    ]  # fmt: skip
    assert [anchor for _, _, anchor in sections(page)] == [
        "a-link-here", "own", "setup", "setup-1", "dash--x", "alt-b--c"
    ]  # fmt: skip


def test_jekyll(tmp_path):
    page = "---\nparent: Guides\n---\n# T\n{: .no_toc }\n\n{% include x.html %}A {{ site.x }} b.\n"
    page += "\n{% highlight ruby %}\nputs 1\n{% endhighlight %}\n\n## One & two\n## One & two\n## C {#d}\n"
    folder = write(
        tmp_path,
        {
            "_config.yml": "title: J\nurl: https://x.org\nbaseurl: /b\nexclude: [skip]\n",
            "index.md": "# Home\n\nx\n", "docs/page.md": page, "skip/a.md": "a", "_layouts/l.html": "x",
            "_posts/2024-03-05-news.md": "# News\n\nnew\n", "p.md": "---\npermalink: /q/\n---\n# P\n\np\n",
        },
    )  # fmt: skip
    found = documents(folder)
    assert {key: one.url for key, one in found.items()} == {
        "_posts/2024-03-05-news.md": "https://x.org/b/2024/03/05/news.html",
        "docs/page.md": "https://x.org/b/docs/page.html",
        "index.md": "https://x.org/b/",
        "p.md": "https://x.org/b/q/",
    }
    page = found["docs/page.md"]
    assert page.structure.navigation == ("Guides",)
    assert page.text.split() == [
        "T",
        "A",
        "b.",
        "puts",
        "1",
        "One",
        "&",
        "two",
        "One",
        "&",
        "two",
        "C",
    ]
    assert [anchor for _, _, anchor in sections(page)] == ["", "one--two", "one--two-1", "d"]


def test_plain_markdown(tmp_path):
    page = """[![badge](https://x/b.svg)](https://x)

# My page

<!-- a comment --> <div align="center">Centred</div>

> [!NOTE]
> An alert.

- [x] done :tada:

Word[^1] and ~~old~~.

[^1]: A note.

## Set up
## Set up
"""
    found = documents(write(tmp_path, {"my_first-page.md": page, "dir/README.md": "text"}))
    assert found["dir/README.md"].title == "Dir" and found["dir/README.md"].url == "dir/"
    one = found["my_first-page.md"]
    assert (one.title, one.url) == ("My page", "my_first-page")
    assert [line for line in one.text.split("\n") if line] == [
        "My page", "Centred", "Note An alert.", "done", "Word and old.", "Set up", "Set up", "A note."
    ]  # fmt: skip
    assert sections(one) == [(1, "My page", ""), (2, "Set up", "set-up"), (2, "Set up", "set-up-1")]


def test_a_notebook(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Note *book*\n", "\n", "Text.\n"]},
        {"cell_type": "code", "source": "x = 1\n", "outputs": [{"text": "out"}]},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "markdown", "source": "## A part"},
    ]
    write(tmp_path, {"a.ipynb": json.dumps({"nbformat": 4, "cells": cells})})
    found = documents(tmp_path)["a.ipynb"]
    assert (found.title, found.text.split("\n\n")[0]) == ("Note book", "Note book\nText.\nx = 1")
    assert sections(found) == [(1, "Note book", ""), (2, "A part", "A-part")]
    assert code(found) == ["x = 1"]
    for broken in ("{", "[]", '{"cells": [1]}'):
        (tmp_path / "a.ipynb").write_text(broken)
        with pytest.raises(InputError, match=r"a\.ipynb: not a Jupyter notebook .*; correct the"):
            documents(tmp_path)


HTML = """<html><head><title>Files - My site</title></head><body><header>Site <a href="/">home</a>
</header><div class="sidebar">Menu</div><main><article><h1 id="files">Files<a class="headerlink"
href="#files" title="Link">¶</a></h1><p>Intro.</p><section id="part"><h2>Part<a href="#part">#</a>
</h2><pre><code>a = 1\nb</code></pre></section><dl><dt id="m.f">f()<a href="#m.f">¶</a></dt><dd>d</dd>
</dl></article></main><div>Copyright</div></body></html>"""


def test_a_built_site(tmp_path):
    urls = "".join(f"<url><loc>https://x.org/d/{n}</loc></url>" for n in ("", "a.html", "b/"))
    write(tmp_path, {"sitemap.xml": f"<urlset>{urls}</urlset>", "a.html": HTML, "b.html": HTML,
                     "index.html": "<h1>Home</h1>x"})  # fmt: skip
    found = documents(tmp_path)
    assert {key: one.url for key, one in found.items()} == {
        "a.html": "https://x.org/d/a.html", "b.html": "https://x.org/d/b/",
        "index.html": "https://x.org/d/",
    }  # fmt: skip
    page = found["a.html"]
    assert (page.title, page.text) == ("Files", "Files\nIntro.\nPart\na = 1\nb\nf()\nd")
    assert sections(page) == [(1, "Files", ""), (2, "Part", "part"), (7, "f()", "m.f")]
    assert code(page) == ["a = 1\nb"]


def test_configurations_of_other_programs_are_no_sites(tmp_path):
    write(tmp_path, {"conf.py": "x = 1\n", "config.toml": "y = 2\n", "a.md": "# A\n\na\n"})
    assert find_site(tmp_path).generator == ""
    assert documents(tmp_path)["a.md"].url == "a"
