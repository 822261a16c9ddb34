"""The README is true: its tree is the files there are, and its commands parse."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from genir.cli import app, serve, train

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("genir", "data_prep", "benchmarks")


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


def commands():
    """Return the command lines of the fenced shell blocks, and of no language at all."""
    blocks = [text for language, text in FENCED.findall(README) if language in ("", "bash", "sh")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(("genir ", "python ", "accelerate "))]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_parses(line):
    words = shlex.split(line, comments=True)
    for name, program in PROGRAMS.items():
        if tuple(words[: len(name)]) == name:
            parse(program, words[len(name) :])
            return
    script = next(word for word in words[1:] if not word.startswith("-"))
    assert (TOP / script).is_file(), f"{line}: there is no {script}"
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    sources = (TOP / script).parent.glob("*.py")
    told = "".join(source.read_text(encoding="utf-8") for source in sources)
    assert all(f'"{option}"' in told for option in options), f"{line}: an unknown option"


def parse(program, words):
    """Raise unless verb and options exist and take these words; nothing is run."""
    while hasattr(program, "commands"):
        verb, *words = words
        assert verb in program.commands, f"no such verb: {verb}"
        program = program.commands[verb]
    program.make_context(program.name, list(words))


def test_the_readme_has_commands_of_every_kind():
    shown = [line.split()[0] for line in commands()]
    assert {"genir", "python"} <= set(shown) and len(shown) >= 8


@pytest.mark.parametrize("line", ["serch m x", "search m", "search m x --no-such", "corpus docs o"])
def test_a_wrong_command_would_be_noticed(line):
    with pytest.raises(Exception, match=r"(?i)no such|missing"):
        parse(PROGRAMS[("genir",)], line.split())


def tree():
    """Return path -> phrase of the fenced block under `## The tree`; folders end in a slash."""
    block = FENCED.search(README, README.index("\n## The tree\n"))[2]
    listed, path = {}, []
    for line in filter(str.strip, block.splitlines()):
        name, _, phrase = line.strip().partition(" ")
        depth, odd = divmod(len(line) - len(line.lstrip()), 2)
        assert not odd and depth <= len(path), f"{line!r}: indent by two spaces a folder"
        path = [*path[:depth], name] if name.endswith("/") else path[:depth]
        place = "".join(path) + ("" if name.endswith("/") else name)
        assert place not in listed, f"{place} is listed twice"
        listed[place] = phrase.strip()
    return listed


def present():
    """Return the files that must be listed, with their folders.

    `__init__.py` is left out: the folder's own line speaks for it.
    """
    files = [*TOP.glob("*.py")]
    for folder in FOLDERS:
        found = (path for path in (TOP / folder).rglob("*") if path.is_file())
        files += [path for path in found if "__pycache__" not in path.parts]
    places = {path.relative_to(TOP) for path in files if path.name != "__init__.py"}
    folders = {parent for place in places for parent in place.parents} - {Path()}
    return {place.as_posix() for place in places} | {f"{folder.as_posix()}/" for folder in folders}


def test_the_tree_names_every_file_and_no_other():
    listed, there = tree().keys(), present()
    assert not there - listed, "add to README.md's tree, with a phrase each"
    assert not listed - there, "remove from README.md's tree"


def test_every_line_of_the_tree_has_a_phrase():
    assert [place for place, phrase in tree().items() if len(phrase) < 5] == []
