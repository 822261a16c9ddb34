"""Fair queuing among callers, and threads with time slices."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.serving.fair_queue import FairQueue
from genir.serving.fair_thread import FairThread, ThreadStopped


def queue_of(jobs):
    queue = FairQueue()
    for caller, job, cost in jobs:
        queue.put(caller, job, cost)
    return queue


def test_a_caller_who_comes_seldom_is_next_whatever_others_have_queued():
    queue = queue_of(("greedy", n, 1000) for n in range(100))
    for _ in range(20):
        assert queue.take() in range(100)
        queue.put("honest", "small", 10)
        assert queue.take() == "small"


def test_callers_share_work_not_turns():
    queue = queue_of([("large", "large", 100)] * 50 + [("small", "small", 10)] * 500)
    taken = Counter(queue.take() for _ in range(220))
    assert 15 <= taken["large"] <= 25  # 20 x 100 = 200 x 10


def test_no_caller_starves_beside_ever_new_callers():
    queue = queue_of([("large", "large", 100)])
    order = []
    for number in range(200):
        queue.put(f"caller {number}", number, 10)
        order.append(queue.take())
    assert "large" in order


def test_a_job_that_does_not_fit_keeps_its_place_and_others_go_on():
    queue = queue_of([("a", 1, 1), ("a", 2, 1), ("b", 3, 1)])
    assert queue.take(lambda job: job > 1) in (2, 3)
    assert queue.take(lambda job: job > 5) is None
    assert sorted([queue.take(), queue.take()]) in ([1, 3], [1, 2])
    assert queue.take() is None and not len(queue)


def test_unwanted_jobs_are_dropped_and_counted_no_more():
    queue = queue_of([("a", 1, 1), ("a", 2, 1), ("b", 3, 1)])
    queue.drop(lambda job: job != 2)
    assert len(queue) == 1 and [*queue.callers] == ["a"] and queue.count("b") == 0
    assert queue.drain() == [2] and not len(queue)


def test_callers_without_jobs_are_forgotten():
    queue = queue_of([("waits", 0, 1e9)])
    for number in range(5_000):
        queue.put(number, number, 1)
        queue.take()
    assert len(queue._start) < 2_500


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100), st.booleans()), max_size=60))
def test_every_job_is_taken_once_in_the_order_of_its_caller(steps):
    queue, given_jobs, taken = FairQueue(), [], []
    for number, (caller, cost, take) in enumerate(steps):
        queue.put(caller, (caller, number), cost)
        given_jobs.append((caller, number))
        if take:
            taken.append(queue.take())
    taken += [queue.take() for _ in range(len(queue))]
    assert sorted(taken, key=lambda job: job[1]) == given_jobs and not len(queue)
    for caller in range(4):
        own = [job for job in taken if job[0] == caller]
        assert own == sorted(own)


def test_callers_take_turns_between_the_steps_of_their_jobs():
    thread, order, gate = FairThread("test"), [], threading.Event()

    def steps(name, count):
        for _ in range(count):
            order.append(name)
            time.sleep(0.0005)
            yield
        return name

    blocker = thread.submit(lambda: gate.wait(10))
    large = thread.run(steps("large", 1_000), "greedy", 1_000)
    small = thread.run(steps("small", 3), "honest", 3)
    gate.set()
    assert blocker.result(10) and small.result(10) == "small" and not large.done()
    assert order.count("large") < 500
    assert large.result(30) == "large" and len(order) == 1_003
    assert thread.close(5)
    with pytest.raises(ThreadStopped):
        thread.submit(int)


def test_a_job_that_fails_takes_no_other_along():
    thread = FairThread("test")

    def failing():
        yield
        raise MemoryError

    lost, kept = thread.run(failing()), thread.submit(lambda: 1)
    with pytest.raises(MemoryError):
        lost.result(10)
    assert kept.result(10) == 1 and thread.waiting == 0
    thread.close(5)


def test_a_hanging_thread_does_not_block_others():
    thread, gate = FairThread("test"), threading.Event()
    hanging = thread.submit(lambda: gate.wait(60))
    waiting = thread.submit(int)
    while not hanging.running():
        time.sleep(0.001)
    assert not thread.close(0.05)  # a daemon thread: Python's exit does not wait for it
    assert waiting.cancelled()
    gate.set()
