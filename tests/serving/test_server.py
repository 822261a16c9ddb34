import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import torch

from genir.errors import InputError
from genir.serving.server import address, bind, run
from genir.serving.service import open_folder

TOP = Path(__file__).parents[2]
SERVE_A_SEARCHER = """
from conftest import WordOverlap
from genir.serving.server import bind, run
with bind("127.0.0.1", 0) as listener:
    run(WordOverlap, listener, "[bold]overlap")
"""


def test_a_taken_port_is_refused_before_anything_is_loaded():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: the port is in use.*--port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70_000, "0 to 65535"),
        ("127.0.0.1", -1, "0 to 65535"),
        ("192.0.2.1", 0, "not an address of this machine"),
        ("no host", 0, "'no host': not an address"),
    ],
)
def test_a_place_that_cannot_be_had_is_refused(host, port, message):
    with pytest.raises(InputError, match=message):
        bind(host, port)


def test_the_address_is_one_that_can_be_typed():
    with bind("0.0.0.0", 0) as everywhere:
        assert address(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_in_brackets():
    try:
        listener = bind("::1", 0)
    except InputError:
        pytest.skip("no IPv6 loopback here")
    with listener:
        assert address(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_a_failed_load_stops_the_server_and_is_raised():
    def load():
        raise InputError("model/recipe.toml: missing")

    with bind("127.0.0.1", 0) as listener, pytest.raises(InputError, match=r"recipe\.toml"):
        run(load, listener, "model")


def test_a_model_uses_and_logs_the_requested_precision(tiny_folder, measured, caplog):
    asked, folder = measured(2.0), tiny_folder("atomic")  # whose recipe says fp32
    caplog.set_level("INFO", "genir.serving")
    dtypes = []
    for given in ("auto", "bf16"):
        served = open_folder(folder, given)
        with served.decoder.stage.autocast():
            dtypes.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        served.close()
    assert dtypes == [torch.float32, torch.bfloat16] and "answering" not in asked
    assert [record.precision for record in caplog.records] == [
        "answering fp32 (as asked for)",
        "answering bf16 (as asked for)",
    ]


def test_the_server_announces_itself_answers_and_leaves_quietly_on_ctrl_c():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE_A_SEARCHER],
        cwd=Path(__file__).parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        line = process.stderr.readline()
        assert line.startswith("[bold]overlap answers at http://127.0.0.1:")
        url = line.split()[3]
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            assert response.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def door(*arguments):
    return subprocess.run(
        [sys.executable, "serve.py", *arguments], cwd=TOP, capture_output=True, text=True
    )


def test_the_door_answers_bad_input_with_the_message_alone(tiny_folder):
    with bind("127.0.0.1", 0) as taken:
        done = door(tiny_folder("atomic"), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.startswith("error: cannot listen on 127.0.0.1:")
        and done.stderr.count("\n") == 1
    )


def test_the_door_has_help():
    done = door("--help")
    assert done.returncode == 0 and "--port" in done.stdout and "MODEL" in done.stdout
