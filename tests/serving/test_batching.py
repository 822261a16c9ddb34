"""The batching queue: batches, limits, deadlines, and isolation of failures."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest

from genir.errors import InputError
from genir.serving.batching import BatchScheduler, QueueFull, SearchJob, ShuttingDown
from genir.serving.metrics import Metrics
from genir.serving.settings import Settings
from genir.types import Capabilities, Hit, Selection


class Recorder:
    """A model that records its batches and blocks until a gate opens."""

    def __init__(self):
        self.batches, self.gate, self.entered = [], threading.Event(), threading.Event()
        self.version = 0
        self.capabilities = Capabilities()
        self.gate.set()
        self.read, self.compiling = threading.Event(), threading.Event()
        self.top_k, self.closed = [], False

    def beam_width(self, k, beams=None):
        return max(k, beams or 10)

    def match(self, queries, k, where, beams=None, exact=None):
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append([*queries])
        if "bad" in queries:
            raise RuntimeError("a bad query")
        return [Found(self, query, n) for query, n in zip(queries, k, strict=True)]

    def prepared(self, where):
        return None

    def prepare(self, where):
        self.top_k.append(where)
        assert self.compiling.wait(10)
        if self.closed:
            raise InputError("closed")
        return "a mask"

    def close(self):
        self.closed = True


class Found:
    """Hits whose snippet blocks until a gate opens, or fails."""

    def __init__(self, model, query, k):
        self.model, self.query, self.k = model, query, k

    proven = None

    def __iter__(self):
        while self.query.startswith("long") and not self.model.read.is_set():
            time.sleep(0.001)
            yield Hit(self.query, 0.0, 1)
        if self.query == "odd":
            raise RuntimeError("an odd text")
        yield from [Hit(self.query, 0.0, 1)] * self.k


@asynccontextmanager
async def worker(**settings):
    recorder = Recorder()
    worker = BatchScheduler(Settings(max_wait_ms=0, **settings), Metrics())
    worker.install(recorder)
    try:
        yield worker, recorder
    finally:
        for event in (recorder.gate, recorder.read, recorder.compiling):
            event.set()
        await asyncio.to_thread(worker.close)


def asks(*texts, **wanted):
    return [SearchJob(text, **wanted) for text in texts]


async def held(worker, recorder):
    """Send a query that blocks at the gate, so that later queries have to wait."""
    recorder.gate.clear()
    recorder.entered.clear()
    (first,) = worker.submit_searches(asks("first"), monotonic() + 60)
    assert await asyncio.to_thread(recorder.entered.wait, 10)
    return first


def test_waiting_queries_share_a_batch_up_to_its_size():
    async def run():
        async with worker(max_batch=3) as (queue, recorder):
            first = await held(queue, recorder)
            later = [
                queue.submit_searches(asks(f"q{n}", k=n + 1), monotonic() + 60)[0] for n in range(4)
            ]
            assert queue.waiting == 4
            recorder.gate.set()
            found = await asyncio.gather(first, *later)
            assert recorder.batches == [["first"], ["q0", "q1", "q2"], ["q3"]]
            assert [len(one.rendered.keys) for one in found[1:]] == [1, 2, 3, 4]
            assert found[0].state == (0, 0)

    asyncio.run(run())


def test_queries_that_differ_in_width_or_mode_go_in_apart():
    async def run():
        async with worker() as (queue, recorder):
            await held(queue, recorder)
            wanted = [{}, {"k": 5}, {"beams": 10}, {"k": 11}, {"exact": True}, {"exact": True},
                      {"exact": True, "k": 3}, {"selection": Selection(({"a": 1},))}]  # fmt: skip
            futures = [
                queue.submit_searches([SearchJob(str(n), **each)], monotonic() + 60)[0]
                for n, each in enumerate(wanted)
            ]
            recorder.gate.set()
            await asyncio.gather(*futures)
            apart = [["0", "1", "2", "7"], ["3"], ["4", "5"], ["6"]]
            assert sorted(recorder.batches[1:]) == apart

    asyncio.run(run())


def test_without_batching_each_query_goes_in_alone():
    async def run():
        async with worker(batching=False) as (queue, recorder):
            await asyncio.gather(*queue.submit_searches(asks("a", "b", "c"), monotonic() + 60))
            assert recorder.batches == [["a"], ["b"], ["c"]]

    asyncio.run(run())


def test_a_query_that_fails_takes_no_other_along():
    async def run():
        async with worker() as (queue, recorder):
            first = await held(queue, recorder)
            good, bad, other = queue.submit_searches(asks("good", "bad", "other"), monotonic() + 60)
            recorder.gate.set()
            assert (await first).rendered.keys[0] == "first"
            with pytest.raises(RuntimeError, match="a bad query"):
                await bad
            assert (await good).rendered.keys[0] == "good" and (await other).rendered.keys[
                0
            ] == "other"

    asyncio.run(run())


def test_a_long_text_delays_no_other_query_not_even_of_its_batch():
    async def run():
        async with worker() as (queue, recorder):
            first = await held(queue, recorder)
            slow, quick = queue.submit_searches(asks("long text", "quick"), monotonic() + 60)
            recorder.gate.set()
            assert (await first).rendered and (await quick).rendered.keys[0] == "quick"
            (later,) = queue.submit_searches(asks("later"), monotonic() + 60)
            assert (await later).rendered.keys[0] == "later" and not slow.done()
            assert recorder.batches == [["first"], ["long text", "quick"], ["later"]]
            recorder.read.set()
            assert (await slow).rendered.keys[0] == "long text"

    asyncio.run(run())


def test_a_text_that_fails_takes_no_other_along():
    async def run():
        async with worker() as (queue, _):
            odd, good = queue.submit_searches(asks("odd", "good"), monotonic() + 60)
            assert (await good).rendered.keys[0] == "good"
            with pytest.raises(RuntimeError, match="an odd text"):
                await odd

    asyncio.run(run())


def test_texts_that_wait_count_as_waiting_and_are_bounded():
    async def run():
        async with worker(queue=3) as (queue, recorder):
            slow = queue.submit_searches(asks("long 1", "long 2", "long 3"), monotonic() + 60)
            while queue.texts.waiting < 3:
                await asyncio.sleep(0.001)
            with pytest.raises(QueueFull):
                queue.submit_searches(asks("one more"), monotonic() + 60)
            recorder.read.set()
            assert len(await asyncio.gather(*slow)) == 3
            assert (await queue.submit_searches(asks("one more"), monotonic() + 60)[0]).rendered

    asyncio.run(run())


def test_a_late_or_abandoned_answer_gets_no_snippets():
    async def run():
        async with worker() as (queue, _):
            gate = threading.Event()
            queue.texts.submit(partial(gate.wait, 10))  # later queries have to wait
            late, given_up = queue.submit_searches(asks("odd", "odd"), monotonic() + 0.05)
            while queue.texts.waiting < 3:
                await asyncio.sleep(0.001)
            given_up.cancel()
            await asyncio.sleep(0.06)
            gate.set()
            await asyncio.to_thread(queue.close)
            assert not late.done()  # the invalid text was not read: it would have failed
            late.cancel()

    asyncio.run(run())


def test_filters_are_compiled_beside_the_model_and_before_it_is_closed():
    async def run():
        async with worker() as (queue, before):
            wanted = Selection(({"a": 1},))
            compiling = asyncio.create_task(queue.prepare(wanted))
            while not before.top_k:
                await asyncio.sleep(0.001)
            (other,) = queue.submit_searches(asks("no filter"), monotonic() + 60)
            assert (await other).rendered
            after = Recorder()
            queue.install(after)
            queue.retire(before)
            (other,) = queue.submit_searches(asks("next"), monotonic() + 60)
            assert (await other).state == (1, 0) and not before.closed
            before.compiling.set()
            await compiling
            after.compiling.set()
            # After the close, by the new model.
            assert await queue.prepare(wanted) == "a mask"
            assert before.closed and before.top_k == after.top_k == [wanted]

    asyncio.run(run())


def test_a_filter_that_cannot_be_compiled_is_left_to_the_search():
    async def run():
        async with worker() as (queue, recorder):
            recorder.closed = True
            recorder.compiling.set()
            assert await queue.prepare(Selection(({"a": 1},))) is None
            assert recorder.top_k

    asyncio.run(run())


def test_a_full_queue_refuses_and_a_lone_request_never_is():
    async def run():
        async with worker(queue=4) as (queue, recorder):
            await held(queue, recorder)
            waiting = queue.submit_searches(asks(*"abcdefgh"), monotonic() + 60)
            with pytest.raises(QueueFull):
                queue.submit_searches(asks("i"), monotonic() + 60)
            with pytest.raises(QueueFull):
                await queue.call(lambda served: None, monotonic() + 60)
            inside = queue.submit(lambda served: served.version)
            recorder.gate.set()
            assert len(await asyncio.gather(*waiting)) == 8
            assert await asyncio.wrap_future(inside) == 0

    asyncio.run(run())


def test_late_or_cancelled_queries_are_never_run():
    async def run():
        async with worker() as (queue, recorder):
            await held(queue, recorder)
            (late,) = queue.submit_searches(asks("late"), monotonic() - 1)
            (given_up,) = queue.submit_searches(asks("given up"), monotonic() + 60)
            (in_time,) = queue.submit_searches(asks("in time"), monotonic() + 60)
            given_up.cancel()
            recorder.gate.set()
            await in_time
            assert recorder.batches == [["first"], ["in time"]]
            assert not late.done()
            late.cancel()

    asyncio.run(run())


def test_waiting_queries_get_an_error_at_shutdown():
    async def run():
        async with worker() as (queue, recorder):
            first = await held(queue, recorder)
            (waiting,) = queue.submit_searches(asks("waiting"), monotonic() + 60)
            task = queue.submit(lambda served: None)
            closing = asyncio.create_task(asyncio.to_thread(queue.close))
            with pytest.raises(ShuttingDown):
                await waiting
            with pytest.raises(ShuttingDown):  # shortly after, in the other thread
                await asyncio.wrap_future(task)
            recorder.gate.set()
            await closing
            assert (await first).rendered
            with pytest.raises(ShuttingDown):
                queue.submit_searches(asks("after"), monotonic() + 60)

    asyncio.run(run())


def test_another_model_answers_from_the_next_batch_on():
    async def run():
        async with worker() as (queue, before):
            first, after = await held(queue, before), Recorder()
            (second,) = queue.submit_searches(asks("second"), monotonic() + 60)
            assert queue.install(after) is before
            before.gate.set()
            assert (await first).state == (0, 0) and (await second).state == (1, 0)
            assert after.batches == [["second"]]

    asyncio.run(run())


def test_the_thread_outlives_errors_that_no_one_expected():
    """After any exception in the model or in reading the journal, the next query is answered."""

    async def run():
        failing = iter((ValueError("a bug"), MemoryError(), OSError("the disk is gone")))

        def idle(served):
            for error in failing:
                raise error

        recorder = Recorder()
        worker = BatchScheduler(Settings(max_wait_ms=0, poll_ms=10), Metrics(), idle)
        worker.install(recorder)
        worker.watch()
        try:
            recorder.beam_width = lambda k, beams=None: 1 // 0
            (lost,) = worker.submit_searches([SearchJob("first")], monotonic() + 10)
            with pytest.raises(ZeroDivisionError):
                await lost
            del recorder.beam_width
            for number in range(20):
                (future,) = worker.submit_searches([SearchJob(f"q{number}")], monotonic() + 10)
                assert (await future).rendered.keys[0] == f"q{number}"
                await asyncio.sleep(0.01)
            assert worker.alive and next(failing, None) is None
        finally:
            worker.close()

    asyncio.run(run())


def test_the_thread_sleeps_until_a_model_is_there():
    """A busy-waiting thread would slow down the loading of the model."""
    worker = BatchScheduler(Settings(poll_ms=50), Metrics(), lambda served: None)
    before = time.process_time()
    worker.watch()
    time.sleep(0.5)
    worker.close()
    assert time.process_time() - before < 0.25
