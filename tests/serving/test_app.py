import json
import threading

import pytest
from fastapi.testclient import TestClient

from genir.serving.app import create_app
from genir.serving.search_page import PAGE
from genir.serving.settings import Settings

LIMITS = Settings()
MAX_QUERY, MAX_QUERIES, MAX_BODY = LIMITS.max_query, LIMITS.max_queries, LIMITS.max_body


def problem(response, status):
    """Check the format of an error response; return its detail."""
    body = response.json()
    assert response.status_code == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail"} and body["status"] == status
    assert "Traceback" not in body["detail"] and "\n" not in body["detail"]
    return body["detail"]


def test_one_query_is_answered_with_hits(client):
    answer = client.post("/search", json={"query": "copy a directory tree", "k": 3}).json()
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    first = answer["hits"][0]
    assert set(first) == {"key", "rank", "score", "title", "url", "snippet", "identifier",
                          "anchor", "breadcrumb"}  # fmt: skip
    assert first["key"] == "shutil.copytree" and first["identifier"] == "0-0-0"
    assert answer["took_ms"] >= 0


def test_several_queries_are_answered_in_their_order(client):
    queries = ["delete directory", "insert sorted list"]
    results = client.post("/search", json={"queries": queries}).json()["results"]
    assert [r["hits"][0]["key"] for r in results] == ["shutil.rmtree", "bisect.insort"]
    alone = [client.post("/search", json={"query": q}).json()["hits"] for q in queries]
    assert [r["hits"] for r in results] == alone


def test_a_list_of_one_query_is_answered_as_a_list(client):
    assert len(client.post("/search", json={"queries": ["copy"]}).json()["results"]) == 1


def test_a_filter_reaches_the_searcher(client):
    everything = client.post("/search", json={"query": "hostile markup copy"}).json()["hits"]
    english = {"query": "hostile markup copy", "where": {"lang": "en"}}
    kept = client.post("/search", json=english).json()["hits"]
    assert len(kept) == len(everything) - 1


BAD_BODIES = {
    "nothing asked": ({}, 'give either "query"'),
    "both": ({"query": "a", "queries": ["b"]}, 'give either "query"'),
    "k = 0": ({"query": "a", "k": 0}, "k: "),
    "k = -1": ({"query": "a", "k": -1}, "got -1"),
    "huge k": ({"query": "a", "k": 10**9}, "got 1000000000 hits; at most 1000"),
    "k a text": ({"query": "a", "k": "x"}, "got 'x'"),
    "k a boolean": ({"query": "a", "k": True}, "got True"),
    "k a fraction": ({"query": "a", "k": 1.5}, "got 1.5"),
    "empty query": ({"query": ""}, "the query is empty"),
    "blank query": ({"query": " \t\n"}, "the query is empty"),
    "long query": ({"query": "x" * (MAX_QUERY + 1)}, f"at most {MAX_QUERY} characters"),
    "NUL": ({"query": "a\0b"}, "NUL"),
    "query a number": ({"query": 7}, "query: "),
    "queries a text": ({"queries": "copy"}, "queries: "),
    "no queries": ({"queries": []}, "queries: "),
    "too many queries": ({"queries": ["a"] * (MAX_QUERIES + 1)}, f"at most {MAX_QUERIES} queries"),
    "invisible query": ({"query": "\u200b \u00ad"}, "the query is empty"),
    "one bad of several": ({"queries": ["a", " "]}, "queries.1: the query is empty"),
    "where a text": ({"query": "a", "where": "lang=en"}, "where: "),
    "where a list": ({"query": "a", "where": ["en"]}, "where: "),
    "where an object of objects": (
        {"query": "a", "where": {"lang": {"gt": {"lt": 3}}}},
        "filter 'lang': {'lt': 3} cannot be compared",
    ),
    "where of an unknown operator": (
        {"query": "a", "where": {"lang": {"gte": 1, "lesser": 2}}},
        "unknown operator 'lesser'",
    ),
    "where too deep": (
        {"query": "a", "where": {"lang": {"not": {"not": {"not": {"not": {"not": {"not": 1}}}}}}}},
        "nested deeper",
    ),
    "where too long": ({"query": "a", "where": {"lang": [*range(1001)]}}, "1,001 values"),
    "beams = 0": ({"query": "a", "beams": 0}, "beams: "),
    "too many beams": ({"query": "a", "beams": 5000}, "beams: got 5000"),
    "exact a number": ({"query": "a", "exact": 1}, "exact: "),
    "deadline a text": ({"query": "a", "deadline_ms": "1"}, "deadline_ms: "),
    "allow a text": ({"query": "a", "allow": "k"}, "allow: "),
    "too many keys": ({"query": "a", "deny": ["k"] * 10_001}, "deny: got 10001 keys"),
    "unknown system": ({"query": "a", "system": "bm52"}, "system: "),
    "bm25 with beams": ({"query": "a", "system": "bm25", "beams": 3}, "bm25 has neither"),
    "where unknown": (
        {"query": "a", "where": {"colour": "red"}},
        "unknown metadata field 'colour'",
    ),
    "unknown key": ({"query": "a", "limit": 3}, "unknown field 'limit'"),
    "a list": ([1, 2], "the body is [1, 2]; send"),
    "null": (None, "the body is empty or null; send"),
}


@pytest.mark.parametrize(("body", "message"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_refused_with_one_clear_message(client, body, message):
    headers = {"Content-Type": "application/json"}
    response = client.post("/search", content=json.dumps(body), headers=headers)
    assert message in problem(response, 422)


@pytest.mark.parametrize("query", [r'"\ud800"', r'"a\udfffb"'])
def test_unpaired_surrogates_are_refused(client, query):
    headers = {"Content-Type": "application/json"}
    for body in (f'{{"query": {query}}}', f'{{"query": "a", "where": {{"lang": {query}}}}}'):
        problem(client.post("/search", content=body, headers=headers), 422)


@pytest.mark.parametrize("body", [b'{"query": ', b"\xff\xfe", b'{"query": "a",}', b"[" * 10_000])
def test_malformed_json_is_refused(client, body):
    response = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    problem(response, 400)


def test_a_missing_or_invalid_json_body_is_refused_with_a_remedy(client):
    assert "application/json" in problem(client.post("/search"), 415)
    assert "application/json" in problem(client.post("/search", data={"query": "a"}), 415)


@pytest.mark.parametrize("measured", [True, False], ids=["with its length", "in chunks"])
def test_a_huge_body_is_refused(client, measured):
    body = b'{"query": "' + b"a" * MAX_BODY + b'"}'
    content = body if measured else (body[i : i + 2**20] for i in range(0, len(body), 2**20))
    headers = {"Content-Type": "application/json"}
    problem(client.post("/search", content=content, headers=headers), 413)


def test_the_longest_allowed_request_is_answered(client):
    body = json.dumps({"queries": ["é" * MAX_QUERY] * MAX_QUERIES}, ensure_ascii=False).encode()
    assert len(body) > 0.97 * LIMITS.max_search_body
    response = client.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert len(response.json()["results"]) == MAX_QUERIES


def test_unknown_paths_and_methods_are_problems(client):
    assert problem(client.get("/nowhere"), 404)
    assert problem(client.get("/search"), 405)
    assert problem(client.get("/page/../app.py"), 404)
    assert problem(client.get("/page/%2e%2e/app.py"), 404)


def test_a_bug_is_a_500_without_internal_details(searcher):
    searcher.match = None
    client = TestClient(create_app(searcher), raise_server_exceptions=False)
    assert "NoneType" not in problem(client.post("/search", json={"query": "copy"}), 500)


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_a_server_whose_model_thread_has_died_is_not_ready(client):
    dead = threading.Thread(target=int)
    dead.start()
    dead.join()
    client.app.state.service._worker._thread = dead
    problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200


def test_before_the_model_is_loaded_the_server_lives_and_is_not_ready(searcher):
    app = create_app()
    with TestClient(app) as client:
        assert client.get("/healthz").status_code == 200
        assert "loading" in problem(client.get("/readyz"), 503)
        response = client.post("/search", json={"query": "copy"})
        assert "loading" in problem(response, 503) and response.headers["retry-after"] == "1"
        app.state.service.load(lambda: searcher).result(timeout=5)
        assert client.get("/readyz").status_code == 200
        assert client.post("/search", json={"query": "copy"}).json()["hits"]


def test_the_model_answers_one_question_at_a_time_and_the_server_meanwhile(searcher):
    entered, release, busy = threading.Event(), threading.Event(), []
    inner = searcher.match

    def slow(*arguments):
        busy.append(threading.get_ident())
        entered.set()
        assert release.wait(5) and len(set(busy)) == 1
        return inner(*arguments)

    searcher.match = slow
    with TestClient(create_app(searcher)) as client:
        asked = []
        threads = [
            threading.Thread(
                target=lambda: asked.append(client.post("/search", json={"query": "copy"}))
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert entered.wait(5)
        assert client.get("/healthz").status_code == 200  # while the model is busy
        assert len(busy) == 1
        release.set()
        for thread in threads:
            thread.join(5)
    assert [response.status_code for response in asked] == [200, 200]


def test_the_model_card(client):
    card = client.get("/model").json()
    assert card["name"] == "python-docs" and card["recipe"] == "overlap"
    assert card["scheme"] == "atomic" and card["kind"] == "encoder-head"
    assert card["documents"] == card["identifiers"] == 13
    assert card["examples"][0] == "copy a directory tree"


def test_examples_are_sampled_from_the_documents_when_none_are_given(searcher):
    examples = TestClient(create_app(searcher)).get("/model").json()["examples"]
    assert len(examples) == len(set(examples)) == 4
    texts = "\n".join(f"{d.title}\n{d.text}" for d in searcher.documents)
    assert all(example in texts for example in examples)


def test_an_empty_corpus_has_a_card_too(searcher):
    searcher.table = searcher.table.with_live(range(len(searcher.documents)), False)
    assert TestClient(create_app(searcher)).get("/model").json()["examples"] == []


def test_the_schema_is_written_once(client, monkeypatch):
    first = client.get("/openapi.json")
    assert first.headers["content-type"] == "application/json"
    monkeypatch.setattr(client.app, "openapi", lambda: pytest.fail("written anew"))
    assert client.get("/openapi.json").content == first.content
    assert client.head("/openapi.json").headers["content-length"] == str(len(first.content))


def test_openapi_describes_the_endpoints_and_the_refusals(client):
    paths = client.get("/openapi.json").json()["paths"]
    asked = {"/search", "/explain", "/model", "/documents", "/documents/{key}", "/healthz",
             "/readyz", "/metrics"}  # fmt: skip
    assert asked | {f"/v1{path}" for path in asked} | {
        "/v1/facets", "/v1/versions", "/v1/rollback", "/v1/compact", "/v1/sync",
    } == set(paths)  # fmt: skip
    refusal = paths["/v1/search"]["post"]["responses"]["4XX"]["content"]
    assert "detail" in refusal["application/problem+json"]["schema"]["properties"]


def test_the_page_and_its_files_are_sent_and_need_nothing_from_elsewhere(client):
    assert client.head("/").status_code == 200
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for file in PAGE.iterdir():
        response = client.get(f"/page/{file.name}")
        assert response.status_code == 200 and response.headers["x-content-type-options"]
        foreign = response.text.replace("http://www.w3.org/2000/svg", "").replace('"http:"', "")
        assert "http://" not in foreign and "//cdn" not in foreign and "innerHTML" not in foreign
    assert (
        "<script>" not in page.text
        and "style=" not in page.text
        and " on" + "click" not in page.text
    )


def test_a_field_given_twice_is_refused_and_not_decided_by_the_last(client):
    def send(body):
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/search", content=body, headers=headers)
        return answer.status_code, answer.json().get("detail", "")

    for body in ('{"query": "x", "query": "y"}', '{"query": "x", "where": {"a": 1, "a": 2}}'):
        status, detail = send(body)
        assert status == 422 and "is given twice" in detail and detail.endswith("keep one")
    for query in ("query=a&query=b", 'query=a&where={"lang":"de","lang":"en"}'):
        answer = client.get(f"/v1/explain?{query}")
        assert answer.status_code == 422 and "given twice" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("query=a&beam=3", "unknown parameter 'beam'; did you mean 'beams'?"),
        ("query=a&k=1_0", "k: '1_0' is not a whole number"),
        ("query=a&beams=%203", "beams: ' 3' is not a whole number"),
    ],
)
def test_parameters_that_would_be_dropped_or_misread_are_refused(client, query, expected):
    answer = client.get(f"/v1/explain?{query}")
    assert answer.status_code == 422 and expected in answer.json()["detail"]


DIGITS = "9" * 5_000
DEEP = "[" * 943 + "]" * 943
UNREADABLE = {
    "digits": (f'{{"query": "x", "k": {DIGITS}}}',
               "an integer of more than 400 digits at column 21; write it as a text"),
    "digits on line 3": (f'{{"query": "{DIGITS}",\n"where":\n{{"n": [-{DIGITS}]}}}}',
                         "digits at line 3, column 9; "),
    "depth": (f'{{"query": "x", "k": {DEEP}}}', "nested deeper than 100 levels at column 120; "),
    "depth of a filter": ('{"query": "x", "where": ' + '{"not":' * 3_000 + "1" + "}" * 3_001,
                          "nested deeper than 100 levels at column 718; write it flatter"),
    "NaN": ('{"query": "NaN", "where": {"n": NaN}}', "NaN is not JSON at column 33; write null"),
    "an infinity": ('{"query": "x", "where": {"n": {"gt": -Infinity}}}',
                    "Infinity is not JSON at column 38"),
    "a comma": ('{"query": "a",}', "malformed JSON (Expecting property name enclosed in double "
                "quotes) at column 15; write valid JSON"),
    "cut": ('{"query": ', "malformed JSON (Expecting value) at column 10"),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/search", "/v1/documents", "/v1/rollback", "/v1/model"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused_with_its_place(searcher, path, kind):
    body, expected = UNREADABLE[kind]
    with TestClient(create_app(searcher, loopback=True)) as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith("the body is not valid JSON: ")
    assert expected in answer.json()["detail"]


@pytest.mark.parametrize("depth", [63, 90, 900, 940, 943, 950, 1000, 5000])
def test_bodies_nested_deeply_are_refused_with_a_reason(searcher, depth):
    nest = "[" * depth + "]" * depth
    with TestClient(create_app(searcher, loopback=True)) as client:
        for body in (
            f'{{"document": {{"_id": "x", "text": "t", "m": {nest}}}}}',
            f'{{"document": {{"_id": "", "m": {nest}, "metadata": {{"m": [{nest}]}}}}}}',
            f'{{"document": {nest}}}',
            f'{{"query": {nest}}}',
        ):
            headers = {"Content-Type": "application/json"}
            answer = client.post("/v1/documents", content=body, headers=headers)
            assert answer.status_code in (400, 422), answer.text
            assert "There was an error" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (f'{{"n": {DIGITS}}}', "where: String should have at most 3000 characters"),
        ("[" * 943, "where: nested deeper than 100 levels at column 101"),
        ('{"n": NaN}', "where: NaN is not JSON at column 7"),
        ("{", "where: malformed JSON (Expecting property name"),
    ],
)
def test_a_filter_in_an_address_that_cannot_be_read_is_refused(client, where, expected):
    answer = client.get("/v1/explain", params={"query": "a", "where": where})
    assert answer.status_code == 422 and answer.json()["detail"].startswith(expected)


@pytest.mark.parametrize(
    ("kind", "body", "status", "expected"),
    [
        ("application/json", "", 422, "the body is empty or null; send a JSON object"),
        ("", "", 415, "send a JSON object, with the header"),
        ("multipart/form-data; boundary=x", "--x--", 415, "send a JSON object, with the header"),
        ("application/x-www-form-urlencoded", "query=a", 415, "send a JSON object, with the"),
        ("application/json", "null", 422, "the body is empty or null; send a JSON object"),
        ("application/json", '"x"', 422, "the body is 'x'; send a JSON object"),
        ("application/json", "[1]", 422, "the body is [1]; send a JSON object"),
    ],
)
def test_a_body_of_another_type_is_refused_with_a_remedy(client, kind, body, status, expected):
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/v1/search", content=body, headers=headers)
    assert answer.status_code == status and answer.json()["detail"].startswith(expected), (
        answer.text
    )


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63) - 1, 10**308])
def test_a_filter_takes_every_number_that_a_field_may_hold(client, number):
    for condition in (number, [number], {"gte": number, "not": [number]}):
        answer = client.post("/v1/search", json={"query": "a", "where": {"lang": condition}})
        assert answer.status_code == 200, answer.text
    answer = client.post(
        "/v1/search", json={"query": "a", "where": {"lang": number // abs(number) * 10**320}}
    )
    assert answer.status_code == 422 and "'lang' must be compared" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/search/", "/search/", "/page", "/v1/model/"])
def test_no_answer_sends_anybody_to_the_host_that_the_request_names(client, path):
    for method in ("GET", "POST"):
        answer = client.request(method, path, headers={"Host": "evil.test"}, follow_redirects=False)
        assert answer.status_code in (404, 405) and "location" not in answer.headers
        assert "evil.test" not in answer.text
