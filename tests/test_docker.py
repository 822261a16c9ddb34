"""Checks of the Dockerfile that need no build."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import typer

from genir.cli import app

TOP = Path(__file__).parents[1]
# Instruction and its arguments, with continued lines joined and comments removed.
TEXT = re.sub(r"^#.*\n", "", (TOP / "Dockerfile").read_text(), flags=re.MULTILINE)
LINES = [line.split(maxsplit=1) for line in TEXT.replace("\\\n", " ").splitlines() if line]


def arguments_of(instruction):
    return [text for name, text in LINES if name == instruction]


def sent(path):
    """Whether .dockerignore lets a path into the build: the last matching pattern decides."""
    inside = True
    for pattern in (TOP / ".dockerignore").read_text().split("\n"):
        name = pattern.removeprefix("!")
        if name and not name.startswith("#") and fits(path, name):
            inside = pattern.startswith("!")
    return inside


def fits(path, name):
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    deep = name.removeprefix("**/")
    return any(fnmatch(one, name) or (deep != name and fnmatch(one.split("/")[-1], deep))
               for one in above)  # fmt: skip


def test_copied_files_exist_and_are_in_the_context():
    copied = [shlex.split(text) for text in arguments_of("COPY") if not text.startswith("--from")]
    sources = [source for words in copied for source in words[:-1]]
    assert {"genir", "pyproject.toml", "constraints.txt", "README.md"} == set(sources)
    assert all((TOP / source).exists() and sent(source) for source in sources)


def test_nothing_else_is_sent():
    assert sent("genir/serving/page/app.js")
    for path in ("tests/tiny.py", ".git/config", "models/x", "genir/__pycache__/a.pyc", ".venv/x"):
        assert not sent(path), path


def test_the_package_needs_no_file_that_is_left_out():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert project["project"]["readme"] == "README.md"


def test_the_entry_command_parses():
    program, *words = json.loads(arguments_of("ENTRYPOINT")[0])
    group = typer.main.get_command(app)
    assert program == "genir"
    serve = group.commands[words[0]]
    context = serve.make_context("serve", [*words[1:], "--tokens", "/tokens.json"])
    assert str(context.params["model"]) == arguments_of("VOLUME")[0] == "/model"
    assert context.params["host"] == "0.0.0.0"
    assert str(context.params["port"]) == arguments_of("EXPOSE")[0]


def test_it_runs_without_root_and_has_a_health_check():
    users = arguments_of("USER")
    assert users and users[-1].isdigit() and users[-1] != "0"
    instructions = [name for name, _ in LINES]
    last = instructions.index("USER")
    assert "RUN" not in instructions[last:]
    check = arguments_of("HEALTHCHECK")[0]
    assert f":{arguments_of('EXPOSE')[0]}/healthz" in check
    code = json.loads(check[check.index("[") :])[2]
    compile(code, "healthcheck", "exec")


def test_every_build_argument_without_a_default_is_required():
    bare = {text for text in arguments_of("ARG") if "=" not in text}
    assert bare == {"TORCH_INDEX"}
    assert any(text.startswith('test -n "$TORCH_INDEX"') for text in arguments_of("RUN"))
