"""Every command in the documentation parses: programs, verbs, options, targets and files exist."""

import re
import shlex
import tomllib

import pytest
import typer
from doc_pages import TOP, blocks, markdown_files, name_of

from genir.cli import app, serve, train
from genir.errors import InputError

MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
STARTS = ("genir ", "python ", "accelerate ", "make ", "pip ", "pytest ", "GENIR_")
SHELL = {">", "|", "&", "&&", ";", "||"}


def door(verb):
    program = typer.Typer(add_completion=False)
    program.command()(verb)
    return typer.main.get_command(program)


PROGRAMS = {
    ("genir",): typer.main.get_command(app),
    ("python", "train.py"): door(train),
    ("accelerate", "launch", "train.py"): door(train),
    ("python", "serve.py"): door(serve),
}


def commands(path):
    """Return the command lines in the fenced shell blocks of a page, each once."""
    found = {}
    for block in blocks(path, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^\w+=\$\(|\)$", "", line.strip())
            if line.startswith(STARTS):
                found[line] = None
    return list(found)


PAGES = {name_of(path): found for path in markdown_files() if (found := commands(path))}


def parse(program, words):
    """Raise unless verb and options exist and accept these words; nothing is run."""
    while hasattr(program, "commands"):
        verb, *words = words
        assert verb in program.commands, f"unknown verb: {verb}"
        program = program.commands[verb]
    program.make_context(program.name, list(words))


def check(line):
    """Raise unless the program of a line, and all that the line names, exist."""
    words = shlex.split(line, comments=True)
    end = next((n for n, word in enumerate(words) if word in SHELL), len(words))
    words = words[:end]
    variables = []
    while re.match(r"[A-Z_]+=", words[0]):
        variables.append(words.pop(0).partition("=")[0])
    for name, program in PROGRAMS.items():
        if tuple(words[: len(name)]) == name:
            return parse(program, words[len(name) :])
    if words[0] == "make":
        return check_target(words)
    if words[0] == "pip":
        return check_install(words)
    if words[0] == "pytest" or words[1:3] == ["-m", "pytest"]:
        return check_tests(words, variables)
    return check_script(words)


def check_target(words):
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        assert re.search(rf"^{name}:" if not equals else rf"\$\({name}\)", MAKEFILE, re.MULTILINE)


def check_install(words):
    assert words[1] == "install"
    if words[-1] == ".":  # a package of the reader
        return
    name, _, extras = words[-1].partition("[")
    assert name == "genir" and set(extras.rstrip("]").split(",")) <= set(EXTRAS)


def check_tests(words, variables):
    paths = [word for word in words if word.startswith("tests/")]
    assert paths and all((TOP / path).exists() for path in paths)
    sources = [file for path in paths for file in sources_of(TOP / path)]
    text = "".join(file.read_text(encoding="utf-8") for file in sources)
    assert all(variable in text for variable in variables)


def sources_of(path):
    return path.rglob("*.py") if path.is_dir() else [path]


def check_script(words):
    assert words[0] == "python"
    script = TOP / f"{words[2].replace('.', '/')}.py" if words[1] == "-m" else TOP / words[1]
    if script.with_suffix("").is_dir():
        script = script.with_suffix("") / "__main__.py"
    assert script.is_file(), f"missing script: {script}"
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    text = "".join(file.read_text(encoding="utf-8") for file in script.parent.glob("*.py"))
    missing = [one for one in options if one not in text and one[2:].replace("-", "_") not in text]
    assert not missing, f"unknown options: {missing}"


def problem(line):
    """Return the error in a line, "" if it is correct."""
    try:
        check(line)
    except (AssertionError, InputError, typer.TyperException) as error:
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_parse(page, tmp_path):
    (tmp_path / "parts").mkdir()  # outputs are checked while a line is parsed
    lines = [line.replace("$WORK", str(tmp_path)) for line in PAGES[page]]
    assert {line: wrong for line in lines if (wrong := problem(line))} == {}


def test_there_are_commands_of_every_kind():
    lines = [line for found in PAGES.values() for line in found]
    assert {"genir", "python", "make", "pip", "accelerate"} <= {line.split()[0] for line in lines}
    assert len(lines) > 80


@pytest.mark.parametrize(
    "line",
    [
        "genir serch m x",
        "genir search m",
        "genir search m x --absent",
        "genir corpus docs o",
        "make absent",
        "pip install 'genir[absent]'",
        "python benchmarks/absent.py",
        "python -m benchmarks.recipes --absent",
        "pytest tests/absent.py",
        "GENIR_NO_SUCH=1 pytest tests/test_growth.py",
    ],
)
def test_a_wrong_command_would_be_noticed(line):
    assert problem(line)
