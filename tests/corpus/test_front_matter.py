import pytest

from genir.corpus.front_matter import split_front_matter
from genir.corpus.page_parser import parse_html, parse_markdown
from genir.corpus.readers import read_corpus
from genir.errors import InputError

TITLES = {
    "empty": ('title: ""', "Heading"),
    "nothing": ("title:", "Heading"),
    "a tilde": ("title: ~", "Heading"),
    "null": ("title: null", "Heading"),
    "null at the start": ("title: null safety", "null safety"),
    "true at the start": ("title: true stories", "true stories"),
    "a number at the start": ("title: 12 monkeys", "12 monkeys"),
    "plain": ("title: One: two", None),
    "plain text": ("title: One two", "One two"),
    "folded": ("title: >\n  A folded\n  title\n", "A folded title"),
    "folded and stripped": ("title: >-\n  A\n\n  B\nx: y", "A B"),
    "literal": ("title: |-\n  Block # no comment\n", "Block # no comment"),
    "continued": ("title: one\n  two", "one two"),
    "comment": ("title: Foo # a comment", "Foo"),
    "hash": ("title: C#", "C#"),
    "double quotes": (r'title: "A \"quoted\" word \u00e9\t!"', 'A "quoted" word é !'),
    "single quotes": ("title: 'It''s here'", "It's here"),
    "quotes inside": ('title: It\'s "here"', 'It\'s "here"'),
    "upper case key": ("Title: Upper", "Upper"),
    "both cases": ("Title: Upper\ntitle: Lower", "Lower"),
    "quoted key": ('"title": Quoted', "Quoted"),
    "flow": ("{title: Flow, x: 1}", "Flow"),
    "octal": ("title: 007", "007"),
    "yes": ("title: yes", "yes"),
    "true": ("title: true", "true"),
    "True": ("title: True", "True"),
    "date": ("title: 2024-01-02", "2024-01-02"),
    "version": ("title: 1.10", "1.10"),
    "integer": ("title: 42", "42"),
    "exponent": ("title: 1e3", "1e3"),
    "underscores": ("title: 1_000", "1_000"),
    "sexagesimal": ("title: 12:30:45", "12:30:45"),
    "infinity": ("title: .inf", ".inf"),
    "minus zero": ("title: -0", "-0"),
    "anchor": ("name: &a Same\ntitle: *a", "Same"),
    "merged": ("base: &b {title: Merged}\n<<: *b", "Merged"),
    "nested titles do not count": ("menu:\n  title: Other\ntitle: Own", "Own"),
    "only a nested one": ("menu:\n  title: Other", "Heading"),
    "emoji": ("title: 🎉 party", "🎉 party"),
}


@pytest.mark.parametrize("name", TITLES)
def test_titles_of_yaml(name):
    fields, title = TITLES[name]
    source = f"---\n{fields}\n---\n# Heading\n\nWords.\n"
    if title is None:
        with pytest.raises(ValueError, match="line 2: front matter is not valid YAML"):
            parse_markdown(source)
        return
    page = parse_markdown(source)
    assert (page.title, page.text) == (title, "Heading\nWords.")


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ('title = "Hugo page"\ndate = 2020-01-01', "Hugo page"),
        ("title = '''Many\nlines'''", "Many lines"),
        ("title = 'C:\\dir'", "C:\\dir"),
        ("title = 1.10", "1.10"),
        ("title = 2024-01-02", "2024-01-02"),
        ('title = ""', "Heading"),
        ('[menu]\ntitle = "Other"', "Heading"),
    ],
)
def test_titles_of_toml(fields, title):
    page = parse_markdown(f"+++\n{fields}\n+++\n\n# Heading\n\nWords.\n")
    assert (page.title, page.text) == (title, "Heading\nWords.")


def test_dates_of_toml_keep_their_spelling():
    fields = (
        "a = 2024-01-02T10:00:00Z\nb = 2024-01-02T10:00:00+00:00\nc = 2024-01-02 10:00:00\n"
        "d = [07:32:00.50, 2024-01-02]\n[e]\nf = 2024-01-02t10:00:00.123456789-05:00\n"
    )
    page = parse_markdown(f"+++\n{fields}+++\nWords.\n")
    assert page.fields == {
        "a": "2024-01-02T10:00:00Z",
        "b": "2024-01-02T10:00:00+00:00",
        "c": "2024-01-02 10:00:00",
        "d": ["07:32:00.50", "2024-01-02"],
        "e": {"f": "2024-01-02t10:00:00.123456789-05:00"},
    }
    yaml = parse_markdown("---\na: 2024-01-02T10:00:00Z\n---\nWords.\n")
    assert yaml.fields["a"] == page.fields["a"]


def test_integers_of_toml_are_numbers():
    assert parse_markdown("+++\na = 0x10\nb = 1_000\n+++\nW.\n").fields == {"a": 16, "b": 1000}


def test_json_front_matter():
    page = parse_markdown('{\n  "title": "A } b",\n  "tags": ["x"]\n}\n\n# Heading\n\nWords.\n')
    assert (page.title, page.text) == ("A } b", "Heading\nWords.")
    assert page.fields == {"title": "A } b", "tags": ["x"]}


@pytest.mark.parametrize("end", ["\n", "  \n", "\n\n"])
def test_json_front_matter_on_one_line(end):
    page = parse_markdown('{"title": "A } b", "lang": "en"}' + end + "Words.\n")
    assert (page.title, page.text) == ("A } b", "Words.")
    assert page.fields == {"title": "A } b", "lang": "en"}


def test_other_fields_stay_as_written():
    yaml = (
        "n: 10\nx: 1.5\nversion: 1.10\nquoted: '10'\non: yes\ntrue: true\ndate: 2020-01-01\n"
        "tags: [a, 2, 007]\nempty:\nat: 2001-12-14t21:59:43.10-05:00\n"
    )
    fields, body = split_front_matter(f"---\n{yaml}---\nWords.")
    assert fields == {
        "n": 10,
        "x": 1.5,
        "version": "1.10",
        "quoted": "10",
        "on": "yes",
        "true": True,
        "date": "2020-01-01",
        "tags": ["a", 2, "007"],
        "empty": None,
        "at": "2001-12-14t21:59:43.10-05:00",
    }
    assert body == "Words."
    fields, _ = split_front_matter("+++\nn = 10\nv = 1.10\nat = 07:32:00\nd = [2020-01-01]\n+++\n")
    assert fields == {"n": 10, "v": "1.10", "at": "07:32:00", "d": ["2020-01-01"]}


def test_html_pages_have_front_matter_too():
    page = parse_html("---\ntitle: Front\nlayout: x\n---\n<title>Head</title><p>Words.</p>")
    assert (page.title, page.text) == ("Front", "Words.")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("---\nA rule above.\n---\n\nWords.\n", "A rule above.\nWords."),
        ("---\n- a list\n---\n\nWords.\n", "a list\nWords."),
        ("---\n\nNo end of it: a rule.\n", "No end of it: a rule."),
        ("{{ macro }}\n\nWords.\n", "{{ macro }}\nWords."),
        ("{\nbrace\n\nWords.\n", "{\nbrace\nWords."),
        ('{"a": 1} is an object.\n', '{"a": 1} is an object.'),
        ('{"quoted"} words\n', '{"quoted"} words'),
        ("{}\nWords.\n", "{} Words."),
        ("----\ntitle: x\n----\n\nWords.\n", "title: x\nWords."),
        ("---\n---\nWords.\n", "Words."),
        ("---\n# a comment alone\n---\nWords.\n", "Words."),
        ("---\ntitle: x\n...\nWords.\n", "Words."),
    ],
)
def test_text_that_looks_like_front_matter_is_kept(source, text):
    assert parse_markdown(source).text.replace("{ brace", "{\nbrace") == text


MALFORMED = {
    "a bracket": ("---\nlayout: x\ntitle: [a\n---\nWords.\n", r"p\.md: line 4: .*not valid YAML"),
    "a template": ("---\ntitle: {{ x }}\n---\nWords.\n", r"p\.md: line 2: .*YAML .*unhashable"),
    "a tab": ("---\ntitle:\n\tx\n---\nWords.\n", r"p\.md: line 3: .*not valid YAML"),
    "an unknown tag": ("---\ntitle: !x y\n---\nWords.\n", r"line 2: .*the tag !x is"),
    "Python's tag": ("---\na: !!python/object/apply:os.getcwd []\n---\nW.\n", "line 2: .*tag"),
    "an undefined alias": ("---\ntitle: *a\n---\nWords.\n", r"line 2: .*undefined alias"),
    "a key twice": ("---\ntitle: a\nx: 1\ntitle: b\n---\nW.\n", "line 4: .*'title' is given twice"),
    "a list for a title": ("---\ntitle: [a, b]\n---\nW.\n", r"title \['a', 'b'\] is not text"),
    "a control character": ("---\ntitle: a\x07\n---\nW.\n", "not valid YAML"),
    "too deep": ("---\na: " + "[" * 9999 + "]" * 9999 + "\n---\nW.\n", "nested too deeply"),
    "bad TOML": ("+++\nx = 1\ntitle = Hugo\n+++\nWords.\n", "not valid TOML .*line 3"),
    "a TOML key twice": ('+++\na = 1\na = 2\n+++\nWords.\n', "not valid TOML"),
    "a JSON key twice": ('{\n"a": 1, "a": 2}\nWords.\n', "the field 'a' is given twice"),
    "an alias to itself": ("---\na: &a [*a]\n---\nW.\n", "line 2: .*more than 100,000 values"),
    "aliases that grow": (
        f"---\na: &a [{'x,' * 99}]\nb: &b [{'*a,' * 99}]\nc: [{'*b,' * 99}]\n---\nW.\n",
        "line 4: .*more than 100,000 values, including aliases",
    ),
    "a title of aliases": (
        "---\na0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 10}]\n" for n in range(1, 12))
        + "title: *a11\n---\nW.\n",
        "line 7: .*more than 100,000 values",
    ),
    "aliases in many fields": (
        f"---\na: &a [{'x,' * 5_000}]\n"
        + "".join(f"b{n}: *a\n" for n in range(50))
        + "---\nW.\n",
        "line 21: .*more than 100,000 values",
    ),
    "merged aliases": (
        "---\na0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1},' * 10}]}}\n" for n in range(1, 12))
        + "---\nW.\n",
        "more than 100,000 values",
    ),
    "a comma too many in JSON": (
        '{\n "title": "T",\n "lang": "en",\n}\nWords.\n',
        "p.md: line 4: front matter is not valid JSON",
    ),
    "a comma too many on one line": ('{"title": "T",}\nWords.\n', "line 1: .*not valid JSON"),
    "JSON that never ends": ('{\n "title": "T"\nWords.\n', "line 3: .*not valid JSON"),
    "a null name": ("---\nnull: 1\n---\nW.\n", "the name None is not text; write it in quotes"),
    "a tilde for a name": ("---\n~: 1\n---\nW.\n", "the name None is not text"),
    "a TOML integer of 5,001 digits": (
        f"+++\nb = 2\na = 1{'0' * 5000}\n+++\nW.\n",
        "line 3: an integer of more than 308 digits; write fewer",
    ),
    "a TOML integer of 400 digits": (f"+++\na = [1, 1_{'0' * 400}]\n+++\nW.\n", "line 2: an int"),
    "a TOML title in hexadecimals": (f"+++\n\ntitle = 0x{'f' * 5000}\n+++\nW.\n", "line 3: an int"),
    "TOML too deep": ("+++\na = " + "[" * 9999 + "\n+++\nW.\n", "nested too deeply; write it"),
    "a YAML integer of 5,000 digits": (
        f"---\nb: 2\na: [{'9' * 5000}]\n---\nW.\n",
        r"line 3: .*\(an integer of more than 308 digits; write it in quotes",
    ),
    "a YAML integer of 400 digits": (f"---\na: -{'9' * 400}\n---\nW.\n", "line 2: .*308 digits"),
    "a YAML title of 5,000 digits": (f"---\ntitle: {'9' * 5000}\n---\nW.\n", "line 2: .*308 dig"),
    "a JSON integer of 5,000 digits": (
        f'{{\n"b": 2,\n"a": {"9" * 5000}\n}}\nW.\n',
        "line 3: front matter: an integer of more than 308 digits; write it in quotes",
    ),
    "a JSON integer of 400 digits": (f'{{\n"a": -{"9" * 400}\n}}\nW.\n', "line 2: .*308 digits"),
    "a set": ("---\na: !!set {x, y}\n---\nW.\n", "line 2: .*the tag !!set is not read"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_front_matter_is_named(tmp_path, name):
    source, message = MALFORMED[name]
    (tmp_path / "p.md").write_text(source)
    with pytest.raises(InputError, match=message) as error:
        list(read_corpus(tmp_path))
    assert str(error.value).startswith(f"{tmp_path / 'p.md'}: ")


def test_fields_are_metadata_and_values_are_counted(tmp_path, caplog):
    (tmp_path / "p.md").write_text(
        "---\ntitle: T\nlang: en\ntags: [a, b]\nurl: /x/\ndraft: false\n---\nWords.\n"
    )
    (document,) = read_corpus(tmp_path)
    assert dict(document.metadata) == {"lang": "en", "tags": ["a", "b"], "draft": False}
    assert document.url == "p"
    assert caplog.messages == [
        f"{tmp_path}: the field 'url' of front matter is not read: 1 ('p.md')"
    ]


def test_numbers_of_json_stay_as_written():
    source = '{\n "version": 1.10, "code": 1e5, "zero": -0, "n": 10, "x": 1.5\n}\ntext'
    fields, text = split_front_matter(source)
    assert fields == {"version": "1.10", "code": "1e5", "zero": "-0", "n": 10, "x": 1.5}
    assert text == "\ntext"


@pytest.mark.parametrize(
    "source", ["---\ntitle: x\nbody", "---\ntitle: x\n----\nbody", '+++\ntitle = "x"\nbody']
)
def test_front_matter_that_never_ends_is_said(tmp_path, caplog, source):
    (tmp_path / "p.md").write_text(source)
    (tmp_path / "rule.md").write_text("---\nA sentence\n")
    assert [document.key for document in read_corpus(tmp_path)] == ["p.md", "rule.md"]
    assert caplog.messages == [
        f"{tmp_path}: front matter that never ends is read as text: 1 ('p.md')"
    ]


def test_a_second_title_is_said(tmp_path, caplog):
    (tmp_path / "p.md").write_text("---\nTitle: A\ntitle: B\n---\nWords.\n")
    assert [document.title for document in read_corpus(tmp_path)] == ["B"]
    assert caplog.messages == [
        f"{tmp_path}: the field 'Title' of front matter is not read: 1 ('p.md')"
    ]


TAGGED = {
    "integer": ('a: !!int "7"', 7),
    "zeros": ('a: !!int "007"', "007"),
    "underscores": ("a: !!int 1_000", "1_000"),
    "no integer": ("a: !!int 0x", "0x"),
    "an empty integer": ('a: !!int ""', ""),
    "an empty float": ('a: !!float ""', ""),
    "base 60": ('a: !!float "1' + ":1" * 200 + '"', "1" + ":1" * 200),
    "boolean": ("a: !!bool true", True),
    "no boolean": ("a: !!bool x", "x"),
    "date": ("a: !!timestamp 2024-01-02", "2024-01-02"),
    "no date": ("a: !!timestamp x", "x"),
    "text": ("a: !!str 12", "12"),
    "bytes": ("a: !!binary aGk=", None),
    "a set": ("a: !!set {b}", None),
    "pairs": ("a: !!pairs [b: 1]", None),
    "ordered": ("a: !!omap [b: 1]", None),
    "a mapping of a list": ("a: !!map [b]", None),
    "a list of a scalar": ("a: !!seq b", None),
    "unknown": ("a: !x b", None),
    "genir's own": ("a: !<tag:genir,2026:number> [1]", None),
    "an object of Python": ("a: !!python/object/apply:os.getcwd []", None),
}


@pytest.mark.parametrize("name", TAGGED)
def test_tags_of_yaml(name):
    written, value = TAGGED[name]
    source = f"---\n{written}\n---\nWords."
    if value is None:
        with pytest.raises(ValueError, match="line 2: front matter is not valid YAML"):
            split_front_matter(source)
    else:
        assert split_front_matter(source)[0] == {"a": value}


@pytest.mark.parametrize(
    "key",
    ["a" + ".a" * 64, "[b]\na" + " . 'a'" * 64, "[a" + ".a" * 64 + "]\nb", "b = {a" + ".a" * 64],
)
def test_a_toml_key_of_many_parts_is_refused(key):
    with pytest.raises(ValueError, match=r"line [23]: a key of more than 64 parts"):
        split_front_matter(f"+++\n{key} = 1\n+++\n")


def test_a_toml_key_of_64_parts_is_read():
    fields, _ = split_front_matter("+++\na" + ".a" * 63 + " = 1\n+++\n")
    for _ in range(63):
        fields = fields["a"]
    assert fields == {"a": 1}


@pytest.mark.parametrize("depth", [95, 105])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ("{a: ", "}")])
def test_yaml_is_read_up_to_a_depth(depth, opened, closed):
    source = f"---\nx: {opened * depth}1{closed * depth}\n---\n\ntext"
    if depth < 100:
        assert parse_markdown(source).fields["x"]
    else:
        with pytest.raises(ValueError, match=r"^front matter nested too deeply; write it flatter$"):
            parse_markdown(source)


@pytest.mark.parametrize(
    "source", ["---\na: {}\n---\n", "+++\na = '{}'\n+++\n", '{{\n"a": "{}"\n}}\n']
)
def test_long_front_matter_is_refused(source):
    with pytest.raises(ValueError, match="front matter of more than 262,144 characters; shorten"):
        parse_markdown(source.format("a" * 262_144) + "\ntext")
    assert parse_markdown(source.format("a" * 262_000) + "\ntext").text == "text"
