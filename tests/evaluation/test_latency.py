from time import sleep

from genir.evaluation.latency import WARM_UP, latencies


class Recorder:
    def __init__(self, name, log, pause=0.0):
        self.name, self.log, self.pause = name, log, pause

    def search(self, queries, k, where=None):
        sleep(self.pause)
        self.log.append((self.name, tuple(queries), k))
        return [[] for _ in queries]


def test_one_query_at_a_time_in_turns_after_a_warm_up():
    log = []
    texts = [f"t{i}" for i in range(8)]
    latencies({name: Recorder(name, log) for name in "ab"}, texts, k=7)
    warm, timed = log[: 2 * WARM_UP], log[2 * WARM_UP :]
    assert warm == [(name, (text,), 7) for name in "ab" for text in texts[:WARM_UP]]
    assert [entry[0] for entry in timed] == list("abba" * 4)
    assert [entry[1] for entry in timed] == [(text,) for text in texts for _ in range(2)]


def test_times_are_milliseconds():
    found = latencies(
        {"slow": Recorder("slow", [], 0.004), "fast": Recorder("fast", [])}, ["t"] * 6
    )
    assert 4 <= found["slow"].p50 <= found["slow"].p95 < 4000
    assert found["fast"].p50 < found["slow"].p50


def test_nothing_to_time():
    assert latencies({"a": Recorder("a", [])}, []) == {}
