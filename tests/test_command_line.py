"""Encodings of arguments and output, closed pipes, help texts, quoting, inspect."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from in_process import run

from genir import __version__
from genir.cli import app
from genir.config import is_recipe, load_recipe, recipe_names
from genir.recipe_facts import GROUPS, read_facts

MAIN = "import sys; sys.argv[0] = 'genir'; from genir.cli import main; main()"
RAW = b"caf\xe9"
BAD = os.fsdecode(RAW)
ENGLISH = re.compile(r"\[[^\]]*\]")


def genir(*arguments, **environment):
    """Run the command in a process."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        capture_output=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def in_shell(redirections, *arguments):
    """Run the command with shell redirections."""
    script = f'exec "$@" {redirections}'
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-c", MAIN, *arguments],
        capture_output=True, check=False,
    )  # fmt: skip


TOKEN = ("token", "new", "x", "--file")
REFUSED = ("token", "new", "x", "--file", "./nosuch/tokens.json")
"""Bad input, found before torch is imported."""


@pytest.mark.parametrize(
    ("arguments", "redirections", "message"),
    [
        (TOKEN, ">&-", "standard output is closed; redirect it to a file"),
        (TOKEN, "<&- >&-", "standard output is closed; redirect it to a file"),
        (TOKEN, "1</dev/null", "(Bad file descriptor)"),
        (TOKEN, ">/dev/full", "(No space left on device)"),
        (TOKEN, ">&- 2>&-", ""), (TOKEN, ">&- 2>/dev/full", ""), (TOKEN, ">/dev/full 2>&-", ""),
        (["recipes"], ">&-", "standard output is closed; redirect it to a file"),
        (["recipes"], ">/dev/full", "(No space left on device)"),
        (["--help"], ">/dev/full 2>&-", ""),
    ],
)  # fmt: skip
def test_results_that_cannot_be_printed_are_an_error(tmp_path, redirections, message, arguments):
    file = tmp_path / "tokens.json"
    done = in_shell(redirections, *arguments, *([str(file)] if arguments == TOKEN else []))
    output = done.stderr.decode()
    assert done.returncode == 2, output
    assert message in output and bool(output) == bool(message) and "Traceback" not in output
    if ">&-" in redirections.split():  # known before any work: no secret is made and lost
        assert not file.exists()


@pytest.mark.parametrize("redirections", ["<&-", "<&- 2>&-", "2</dev/null"])
def test_a_closed_standard_error_or_input_changes_no_exit_code(redirections):
    done = in_shell(redirections, "recipes")
    assert done.returncode == 0 and b"default" in done.stdout
    assert in_shell(redirections, *REFUSED).returncode == 2


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    code = "from genir.cli import _start; _start(); made = open('f', 'w'); print(made.fileno())"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", code],
        capture_output=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert int(done.stdout) >= 3


def verbs(command=None, path=()):
    """Yield each verb's path and command."""
    command = command or typer.main.get_command(app)
    for name, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from verbs(below, (*path, name))
        else:
            yield (*path, name), below


VERBS = dict(verbs())


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("place", ["argument", "option"])
def test_arguments_that_are_not_utf8_are_refused_by_every_verb(verb, place, capsys):
    arguments = [*verb, BAD] if place == "argument" else [*verb, f"--where=x={BAD}"]
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert f"argument {len(arguments)}, b'" in error and r"caf\xe9': not UTF-8" in error
    assert "byte 0xe9 at position" in error


def test_half_a_surrogate_pair_is_no_argument(capsys):
    assert run("search", "model", "\ud83d") == 2
    assert r"argument 3, '\ud83d': character 0 is half a surrogate pair" in capsys.readouterr().err


def test_bytes_of_the_shell_are_refused_with_the_fix():
    done = genir("search", "model", RAW)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: argument 3, b'caf\\xe9': not UTF-8")


def test_another_locale_is_named():
    done = genir("search", "model", "café".encode(), LC_ALL="C", PYTHONUTF8="0",
                 PYTHONCOERCECLOCALE="0")  # fmt: skip
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert b"the locale's encoding is ascii; set LC_ALL=C.UTF-8 or PYTHONUTF8=1" in done.stderr


# --- output ----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_help_and_tables_print_in_every_encoding(encoding):
    for arguments in (("--help",), ("recipes",)):
        done = genir(*arguments, PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
        assert done.stdout.decode(encoding)


def test_a_reader_that_goes_away_ends_it_silently():
    for arguments in (["recipes"], ["search"], ["--help"]):
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        process.stdout.close()
        error = process.stderr.read()
        process.stderr.close()
        code = process.wait()
        if arguments == ["recipes"]:
            assert (code, error) == (141, b"")
        assert b"Traceback" not in error and b"BrokenPipe" not in error


def test_recipes_are_whole_when_piped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert run("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in recipe_names():
        (line,) = [line for line in lines if line.startswith(f" {name} ")]
        assert load_recipe(name).description in line


def test_recipes_are_grouped_with_their_costs(capsys):
    assert run("recipes") == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:-1]] == list(GROUPS.values())
    default = next(line for line in blocks[0].splitlines() if line.startswith(" default "))
    facts = read_facts()["default"]
    assert default.split()[-3:] == ["optional", f"{facts.minutes:.0f}", "3,076"]
    assert run("recipes", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["recipe"] for one in listed] == list(read_facts())
    assert all(one["description"] and one["paper"] for one in listed)


def test_the_facts_of_recipes_are_complete():
    facts = read_facts()
    assert sorted(facts) == recipe_names()
    for name, own in facts.items():
        recipe = load_recipe(name)
        alone = {section.task for section in recipe.tasks} <= {"queries", "write-queries"}
        generated = is_recipe(recipe.pseudo_queries.source)
        assert own.needs_train_queries == (alone or generated), name


def test_tables_fit_the_terminal(monkeypatch):
    """A table is as wide as the terminal, and no name is cut."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.execvpe(sys.executable, [sys.executable, "-c", MAIN, "recipes"],
                   {**os.environ, "COLUMNS": "80", "TERM": "dumb"})  # fmt: skip
    shown = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # Linux reports the end of a closed terminal so
            break
        if not block:
            break
        shown += block
    assert os.waitpid(pid, 0)[1] == 0
    lines = shown.decode().splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("minutes"))
    assert all(any(line.startswith(f" {name} ") for line in lines) for name in recipe_names())


def test_the_version_is_printed(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"genir {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("genir se", {"search", "serve", "set"}),
        ("genir train ultron-p", {"ultron-pq", "ultron-pq-general", "ultron-pq-search"}),
        ("genir search --prec", {"--precision"}),
    ],
)
def test_the_shell_completes(words, expected):
    done = genir(_GENIR_COMPLETE="complete_bash", COMP_WORDS=words,
                 COMP_CWORD=str(len(words.split()) - 1))  # fmt: skip
    assert set(done.stdout.decode().split()) == expected, done.stderr


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_shows_every_bracketed_word(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)
    assert run(*verb, "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    command = VERBS[verb]
    for text in [command.help, *(getattr(one, "help", None) or "" for one in command.params)]:
        for word in ENGLISH.findall(text.replace("\\[", "[")):
            assert word in shown, f"{word} is lost from the help of {' '.join(verb)}"


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_of_80_columns_cuts_no_word(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*verb, "--help") == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    options = [name for one in VERBS[verb].params for name in (*one.opts, *one.secondary_opts)]
    assert all(re.search(rf"{name}\b", shown) for name in options if name.startswith("--"))


def test_the_list_of_verbs_shows_whole_sentences(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(command.help in shown for verb, command in VERBS.items() if len(verb) == 1)


def test_the_help_of_generate_queries_names_its_section(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run("generate-queries", "--help") == 0
    assert "[pseudo_queries]" in capsys.readouterr().out
    assert run("train", "--help") == 0
    shown = capsys.readouterr().out
    assert "[qrels/train.tsv]" in shown and "[the corpus's" in shown


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serch",), r"error: No such command 'serch'.*'search'.*; see .* --help\n$"),
        (
            ("search", "m", "q", "-k", "ten"),
            r"error: Invalid value for '-k': .*see .* search --help",
        ),
        (("search",), r"error: Missing argument 'MODEL'; see .* search --help\n$"),
        (("search", "m", "q", "--nope"), r"error: No such option: --nope.*see .* search --help"),
        *[
            (
                (*arguments,),
                r"error: .*see .* --help; put -- before a key or query that begins with a",
            )
            for arguments in (
                ("delete", "m", "-5"),
                ("search", "m", "-foo"),
                ("search", "m", "-k meaning in tar"),
                ("explain", "m", "q", "-5"),
            )
        ],
        (
            ("search", "m", "q", "-k", "9" * 20),
            r"'9{20}', give a whole number of at most 18 digits",
        ),
        (("token", "new"), r"error: Missing argument '(NAME|name)'; see .* token new --help"),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, arguments, message):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


def test_behind_two_dashes_a_key_may_begin_with_a_dash(capsys, tmp_path):
    assert run("delete", str(tmp_path / "none"), "--", "-5") == 2
    assert "none: " in capsys.readouterr().err  # the folder is read: -5 was a key


def test_a_group_alone_shows_its_help(capsys):
    assert run("token") == 2
    assert "new" in capsys.readouterr().out


def test_train_py_and_serve_py_have_the_same_checks():
    top = Path(__file__).parents[1]
    for name in ("train.py", "serve.py"):
        done = subprocess.run([sys.executable, top / name, RAW, "--nope"], capture_output=True,
                              check=False)  # fmt: skip
        assert done.returncode == 2 and b"argument 1, b'caf\\xe9': not UTF-8" in done.stderr
        done = subprocess.run([sys.executable, top / name, "--nope"], capture_output=True,
                              check=False)  # fmt: skip
        assert done.returncode == 2 and f"see {name} --help".encode() in done.stderr


# --- a model -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_folder):
    return tiny_folder("atomic")


def test_inspect_reads_as_text(model, capsys):
    assert run("inspect", model) == 0
    shown = capsys.readouterr().out
    assert not re.search(r"[\[\]{}']|None|True", shown)
    assert run("inspect", model, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [line.split("  ")[0].strip() for line in shown.splitlines() if line[1:2].strip()] == [
        name for name in facts
    ]
    assert f"{facts['parameters']:,}" in shown and "version 0, kind" in shown


def test_inspect_and_versions_agree_after_changes(model, tmp_path, capsys):
    changed = shutil.copytree(model, tmp_path / "model")
    assert run("delete", changed, "copy-file") == 0
    assert capsys.readouterr().out == "1 document deleted; version 1\n"
    (tmp_path / "new.jsonl").write_text('{"_id": "new", "text": "hide a volume"}\n')
    assert run("add", changed, tmp_path / "new.jsonl") == 0
    assert capsys.readouterr().out.startswith("1 document added in ")
    assert run("versions", changed, "--json") == 0
    versions = json.loads(capsys.readouterr().out)
    assert run("inspect", changed, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["versions"] == versions
    assert [one["version"] for one in versions] == [0, 1, 2]
    assert (facts["version"], facts["documents"], facts["live documents"]) == (2, 41, 40)
    assert facts["identifiers"] == 41


def test_search_shows_titles_and_whole_addresses(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    assert run("search", model, "copy a file", "-k", "40") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 80
    for line in lines[::2]:
        rank, key, score, url, *title = line.split()
        assert url == f"https://docs.example.org/{key.split('-')[1]}/{key.split('-')[0]}"
        assert title == key.split("-") and float(score) < 0 < int(rank)


@pytest.mark.parametrize(
    ("where", "count"),
    [("section=0", 8), ("section=00", 8), ("verb=copy", 5), ("tags=disk", 8), ("title=7", 0)],
)
def test_where_has_the_field_s_type(model, capsys, where, count):
    assert run("search", model, "copy", "-k", "40", "--json", "--where", where) == 0
    assert len(json.loads(capsys.readouterr().out)["hits"]) == count


def test_where_names_the_type_it_wants(model, capsys):
    assert run("search", model, "copy", "--where", "section=first") == 2
    assert "filter 'section': 'first' is not a number" in capsys.readouterr().err
    assert run("explain", model, "copy", "copy-file", "--where", "section=true") == 2
    assert "filter 'section': 'true' is not a number" in capsys.readouterr().err


def test_add_of_an_existing_key_names_the_option(model, capsys, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"_id": "copy-file", "text": "x"}\n')
    assert run("add", model, tmp_path / "a.jsonl") == 2
    assert "'copy-file' is there already; replace it (--replace" in capsys.readouterr().err


def test_train_quotes_the_command_that_it_suggests(tiny_encoder, tiny_corpus, tmp_path, capsys):
    out = tmp_path / "my $model"
    assert run("train", "default", "--corpus", tiny_corpus, "--out", out, "--set",
               f"model.encoder={tiny_encoder}", "--set", "training.max_steps=1") == 0  # fmt: skip
    assert capsys.readouterr().out == f"genir search '{out}' \"your question\"\n"


@pytest.mark.parametrize("value", ["1_0", " 3", "3.0", "abc", "\u0663", "9" * 19, "nan"])
@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (("search", "model", "q"), "-k"),
        (("search", "model", "q"), "--beams"),
        (("serve", "model"), "--port"),
        (("rollback", "model"), "version"),
    ],
)
def test_whole_numbers_are_plain_digits(verb, option, value, capsys):
    assert run(*verb, *([option] if option.startswith("-") else []), value) == 2
    error = capsys.readouterr().err.lower()
    most = " of at most 18 digits" if value == "9" * 19 else ""
    assert f"{option}': {value!r}, give a whole number{most}; see " in error


@pytest.mark.parametrize("value", ["nan", "inf", "1_0.5", "\u0663", "x"])
def test_numbers_are_plain_and_finite(value, capsys):
    assert run("refresh", "model", "--tolerance", value) == 2
    assert f"for '--tolerance': {value!r}, give a number; see " in capsys.readouterr().err


def test_an_error_that_cannot_be_printed_keeps_its_exit_code():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", MAIN, *REFUSED]
        assert subprocess.run(command, stderr=full, stdout=subprocess.PIPE).returncode == 2
