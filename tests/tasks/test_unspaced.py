"""Texts in scripts without spaces: tasks, dev questions and passages cut them by length."""

from random import Random

import pytest

from genir.config import PseudoQueriesSection
from genir.corpus.sentence_queries import make_sentence_queries
from genir.generation.queries import prompt
from genir.identifiers.passage import document_passages
from genir.identifiers.table import IdentifierTable
from genir.tasks.chunking import clauses, fill, first_section, lead, pieces, sentences
from genir.tasks.registry import TASKS
from genir.training.dev_split import make_dev_split
from genir.types import Document, Link

LEAVE = (
    "请提前两周在日历中申请休假。"
    "每位员工每年有二十八天假期，未使用的假期可以结转到下一年。病假不计入年假。"
)
MONEY = "请在每月五日之前提交收据。差旅费用将在十天内返还到您的银行账户！餐费每天上限为一百元。"
CHINESE = [Document("d1", LEAVE, "年假"), Document("d2", MONEY, "报销")]
JAPANESE = [
    Document("j1", "休暇は二週間前に申請してください。病気休暇は別です。", "休暇"),
    Document(
        "j2", "領収書は毎月五日までに提出してください。旅費は十日以内に返金されます。", "経費"
    ),
]
THAI = [
    Document("t1", "กรุณาขอลาพักร้อนล่วงหน้าสองสัปดาห์ วันลาป่วยไม่นับรวม", "วันลา"),
    Document("t2", "ส่งใบเสร็จก่อนวันที่ห้าของทุกเดือน ค่าเดินทางจะคืนภายในสิบวัน", "ค่าใช้จ่าย"),
]
CORPORA = {"Chinese": CHINESE, "Japanese": JAPANESE, "Thai": THAI}


def sources(name, corpus, queries=None, **options):
    kind = TASKS[name]
    table = IdentifierTable.build([[(n, 0)] for n in range(len(corpus))], [d.key for d in corpus])
    made = kind(kind.Options(**options)).examples(corpus, table, queries or {}, Random(0))
    return list(made)


@pytest.fixture(params=CORPORA)
def corpus(request):
    return CORPORA[request.param]


def test_spans_are_parts_of_the_text(corpus):
    texts = {document.text for document in corpus}
    made = sources("spans", corpus, count=20)
    assert len(made) == 40
    for example in made:
        assert any(example.source in text for text in texts)
        assert example.source not in texts


def test_chunks_ngrams_and_passages_have_the_requested_length():
    assert [e.source for e in sources("chunks", CHINESE[:1], words=20, overlap=5)] == [
        "请提前两周在日历中申请休假。每位员工每年有",
        "员工每年有二十八天假期，未使用的假期可以结",
        "假期可以结转到下一年。病假不计入年假。",
    ]
    for example in sources("ngrams", CHINESE, words=5, count=3):
        assert 5 <= len(example.source) <= 6  # a comma belongs to the character before
    first, second = sources("passages", CHINESE, words=20, count=1)
    assert first.source == "年假 请提前两周在日历中申请休假。每位员工每"
    assert second.source == "报销 请在每月五日之前提交收据。差旅费用将在"


def test_a_lead_is_the_first_sentence():
    assert lead(LEAVE, 32) == "请提前两周在日历中申请休假。"
    assert lead(LEAVE, 5) == "请提前两周"
    assert sentences(MONEY)[1] == "差旅费用将在十天内返还到您的银行账户！"
    assert pieces(MONEY, 2, 4) == ["请在每月", "差旅费用"]
    assert clauses("第一步：打开。其他", 2, 20) == ["第一步", "其他"]
    assert first_section(f"{LEAVE}\n\n{MONEY}") == LEAVE
    assert fill(sentences(MONEY), 20) == [sentences(MONEY)[:2], sentences(MONEY)[2:]]


def test_cloze_and_inner_sentences():
    assert {e.source for e in sources("ict", CHINESE)} <= {*sentences(LEAVE), *sentences(MONEY)}
    assert len(sources("ict", CHINESE)) == 2
    assert len(sources("bfs", CHINESE)) == 2
    made = sources("iss", CHINESE, unit="sentence", page=30, shortest=8)
    assert {e.source for e in made} == {
        s for s in (*sentences(LEAVE), *sentences(MONEY)) if len(s) > 8
    }  # fmt: skip


def test_the_rest_of_a_passage_has_the_spaces_of_the_text():
    made = sources(
        "ict", [Document("d", "一。二。 三。\n四。五。")], target="rest", keep=1.0, shortest=1
    )
    assert [example.target for example in made] == ["一。二。 三。 四。五。"]


def test_words_drawn_from_statistics_are_bigrams():
    (first, _) = sources("terms", CHINESE, words=3)
    assert first.source.split() == ["年假", "请提", "提前"]
    for name, options in (("prop", {"pairs": 5}), ("b-prop", {"pairs": 5})):
        made = sources(name, CHINESE, **options)
        assert len(made) == 10
        assert all(len(word) == 2 for e in made for word in e.source.split())


def test_overlaps_begin_where_a_query_does():
    made = sources("overlaps", CHINESE, {"d2": ["差旅费用"]}, words=4, count=9, temperature=0.05)
    assert {e.source for e in made} == {"差旅费用"}
    assert {e.target for e in made} == {"差旅费用"}


def test_a_span_recurs():
    pages = [Document("a", "今天的差旅费用很高"), Document("b", "公司返还差旅费用。")]
    pages = [Document(d.key, d.text, "报销") for d in pages]
    made = sources("recurring-spans", pages, passages="documents", keep=0.0, narrowest=9)
    assert {e.source for e in made} <= {"今天的很高", "公司返还"}
    assert made


def test_a_link_is_in_its_sentence():
    start = MONEY.index("差旅")
    page = Document("d2", MONEY, "报销", links=(Link(start, start + 4, "d1"),))
    (made,) = sources("rqp", [CHINESE[0], page], mean=0)
    assert made.source == "差旅费用"


def test_dev_questions_are_short(corpus):
    split = make_dev_split(corpus, {}, 5, 0)
    assert split.is_synthetic
    assert len(split.questions) == 2
    whole = {f"{document.title} {document.text}" for document in corpus}
    for question in split.questions:
        assert question not in whole
        assert len(question) <= 30
        assert any(question in text for text in whole)


def test_passages_of_a_document():
    found = document_passages(CHINESE[1], 10, 3)
    assert "".join(found) == f"报销. {MONEY}"[: sum(map(len, found))]
    assert [len(passage) for passage in found] == [12, 11, 10]


def test_a_prompt_is_cut_and_thinned_by_characters():
    options = PseudoQueriesSection(words=10, drop=0.5)
    made = {prompt(CHINESE[1], options, Random(n)) for n in range(20)}
    assert len(made) > 10
    assert all(len(text) < len("报销. ") + 12 for text in made)
    assert (
        prompt(CHINESE[1], PseudoQueriesSection(words=10), Random(0))
        == "报销. 请在每月五日之前提交"
    )


@pytest.mark.parametrize("name", CORPORA)
def test_sentences_are_held_out(name):
    made = make_sentence_queries(CORPORA[name], 0.5, seed=0)
    assert len(made.queries) >= 1
    for query in made.queries:
        assert any(query.text in document.text for document in CORPORA[name])
        assert not any(query.text in document.text for document in made.documents)
