import os
import threading

import pytest
import torch
import torch.nn.functional as F

from genir.models.engine import parallel_linear
from genir.models.engine.parallel_linear import parallel_linear as product


@pytest.fixture
def threads(monkeypatch):
    """Names of the threads that multiplied, with every matrix large enough for a thread."""
    seen = []

    def linear(states, weight):
        seen.append(threading.current_thread().name)
        return torch.matmul(states, weight.T)

    monkeypatch.setattr(parallel_linear.F, "linear", linear)
    monkeypatch.setattr(parallel_linear, "MIN_PARALLEL_ENTRIES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return seen


def given(rows=1):
    torch.manual_seed(0)
    return torch.randn(rows, 16), torch.randn(41, 16)


def test_one_query_is_multiplied_by_both_halves_at_once(threads):
    states, weight = given()
    with torch.inference_mode():
        found = product(states, weight)
    assert [name.startswith("genir-product") for name in sorted(threads)] == [False, True]
    torch.testing.assert_close(found, torch.matmul(states, weight.T))


def test_other_products_stay_in_their_thread(threads, monkeypatch):
    with torch.inference_mode():
        product(*given(rows=2))
    product(*given())  # may be in training
    monkeypatch.setattr(parallel_linear, "MIN_PARALLEL_ENTRIES", 1 << 30)
    with torch.inference_mode():
        product(*given())
    assert threads == [threading.current_thread().name] * 3


def test_products_go_on_while_the_interpreter_ends(threads, monkeypatch):
    class Ended:
        def submit(self, *_):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(parallel_linear, "_executor", Ended)
    with torch.inference_mode():
        assert len(product(*given())[0]) == 41


def test_a_large_product_is_the_same_at_once(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    torch.manual_seed(0)
    states = torch.randn(1, 64)
    weight = torch.randn(parallel_linear.MIN_PARALLEL_ENTRIES // 64 + 1, 64)
    with torch.inference_mode():
        torch.testing.assert_close(product(states, weight), F.linear(states, weight))


def test_a_fork_makes_a_thread_of_its_own():
    before = parallel_linear._executor()
    child = os.fork()
    if not child:
        os._exit(int(parallel_linear._executor() is before))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
