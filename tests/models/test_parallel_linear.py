import os
import threading

import pytest
import torch
import torch.nn.functional as F

from genir.models.engine import parallel_linear
from genir.models.engine.parallel_linear import linear_pair


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


def pair(rows=1):
    torch.manual_seed(0)
    return [(torch.randn(rows, 16), torch.randn(40, 16)) for _ in range(2)]


def test_one_query_is_multiplied_by_two_matrices_at_once(threads):
    given = pair()
    with torch.inference_mode():
        found = linear_pair(*given)
    assert [name.startswith("genir-product") for name in sorted(threads)] == [False, True]
    for product, (states, weight) in zip(found, given, strict=True):
        assert torch.equal(product, torch.matmul(states, weight.T))


def test_other_products_stay_in_their_thread(threads, monkeypatch):
    with torch.inference_mode():
        linear_pair(*pair(rows=2))
    linear_pair(*pair())  # may be in training
    monkeypatch.setattr(parallel_linear, "MIN_PARALLEL_ENTRIES", 1 << 30)
    with torch.inference_mode():
        linear_pair(*pair())
    assert {*threads} == {threading.current_thread().name} and len(threads) == 6


def test_products_go_on_while_the_interpreter_ends(threads, monkeypatch):
    class Ended:
        def submit(self, *_):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(parallel_linear, "_executor", Ended)
    with torch.inference_mode():
        assert [len(product[0]) for product in linear_pair(*pair())] == [40, 40]


def test_a_large_product_has_the_same_bits_at_once():
    torch.manual_seed(0)
    given = [
        (torch.randn(1, 64), torch.randn(parallel_linear.MIN_PARALLEL_ENTRIES // 64, 64))
        for _ in range(2)
    ]
    with torch.inference_mode():
        found = linear_pair(*given)
        apart = [F.linear(*one) for one in given]
    assert all(map(torch.equal, found, apart))


def test_a_fork_makes_a_thread_of_its_own():
    before = parallel_linear._executor()
    child = os.fork()
    if not child:
        os._exit(int(parallel_linear._executor() is before))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
