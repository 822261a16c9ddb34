"""Words, terms and sentences, worked out by hand for each script."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.corpus.tokens import (
    GluedWord,
    characters,
    count_words,
    first_words,
    index_terms,
    is_alphabetic,
    join_words,
    normalize,
    sentence_spans,
    split_sentences,
    terms,
    without_punctuation,
    words,
)

# (text, words, terms)
SCRIPTS = {
    "English": ("A test (v1.2): don't!", ["A", "test", "(v1.2):", "don't!"],
                ["a", "test", "v1", "2", "don", "t"]),
    "German": ("Über-große Straße", ["Über-große", "Straße"], ["über", "große", "straße"]),
    "Russian": ("Ёлка, ещё.", ["Ёлка,", "ещё."], ["ёлка", "ещё"]),
    "Han": ("请假。您好", ["请", "假。", "您", "好"], ["请假", "您好"]),
    "Han beside Latin": ("使用docker命令（好）", ["使", "用", "docker", "命", "令", "（好）"],
                         ["使用", "docker", "命令", "好"]),
    "Han with spaces": ("大阪 2025年", ["大", "阪", "2025", "年"], ["大阪", "2025", "年"]),
    "Han beyond the first plane": ("𠮷野家", ["𠮷", "野", "家"], ["𠮷野", "野家"]),
    "kana": ("カメラを", ["カ", "メ", "ラ", "を"], ["カメ", "メラ", "ラを"]),
    "decomposed kana": ("か\u3099き", ["か\u3099", "き"], ["がき"]),
    "half-width kana": ("ｶﾞｽ", ["ｶﾞ", "ｽ"], ["ガス"]),
    "ligatures": ("ﬁle oﬃce", ["ﬁle", "oﬃce"], ["file", "office"]),
    "radicals": ("⽇本の", ["⽇本", "の"], ["日本", "本の"]),
    "Arabic letters by position": ("ﻣﺮﺣﺒﺎ", ["ﻣﺮﺣﺒﺎ"], ["مرحبا"]),
    "full-width Latin": ("ＡＢＣ１２", ["ＡＢＣ１２"], ["abc12"]),
    "Korean": ("서울에서 만나요", ["서울에서", "만나요"], ["서울에서", "만나요"]),
    "Thai": ("ก็ทำ๒๕", ["ก็", "ทำ", "๒๕"], ["ก็ทำ", "๒๕"]),
    "Lao": ("ນ້ຳດີ", ["ນ້ຳ", "ດີ"], ["ນ້ຳດີ"]),
    "Khmer": ("ខ្មែរ។", ["ខ្មែ", "រ។"], ["ខ្មែរ"]),
    "Myanmar": ("မြန်မာ", ["မြ", "န်", "မာ"], ["မြန်", "န်မာ"]),
    "Tibetan": ("བོད་ཡིག", ["བོད་", "ཡིག"], ["བོད", "ཡིག"]),
    "Ethiopic": ("ሰላም፡ዓለም", ["ሰላም፡", "ዓለም"], ["ሰላም", "ዓለም"]),
    "Hindi": ("हिन्दी में", ["हिन्दी", "में"], ["हिन्दी", "में"]),
    "Tamil": ("தமிழ் மொழி", ["தமிழ்", "மொழி"], ["தமிழ்", "மொழி"]),
    "Arabic": ("مرحبا بالعالم؟", ["مرحبا", "بالعالم؟"], ["مرحبا", "بالعالم"]),
    "Hebrew with points": ("שָׁלוֹם", ["שָׁלוֹם"], ["שלום"]),
    "decomposed accents": ("cafe\u0301", ["cafe\u0301"], ["café"]),
    "emoji": ("😀 ❤️ 👩‍👩‍👧", ["😀", "❤️", "👩‍👩‍👧"], []),
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_and_terms(script):
    text, own_words, own_terms = SCRIPTS[script]
    assert words(text) == own_words
    assert terms(text) == own_terms
    assert join_words(words(text)) == text
    assert count_words(text) == len(own_words)


def test_a_glued_word_has_no_space_before_it():
    found = words("用 docker命令")
    assert found == ["用", "docker", "命", "令"]
    assert [isinstance(word, GluedWord) for word in found] == [False, False, True, True]
    assert join_words(found[1:3]) == "docker命"
    assert join_words(found[2:]) == "命令"
    assert join_words([found[0], found[3]]) == "用令"
    assert first_words("  用\n docker命令", 3) == "用 docker命"
    assert first_words("one\n two  three", 2) == "one two"


def test_brackets_and_marks_stay_with_their_words():
    assert words("他说：“好！”（笑）") == ["他", "说：", "“好！”", "（笑）"]
    assert words("……好") == ["……好"]
    assert words("「") == ["「"]


def test_an_index_reads_korean_in_bigrams_and_leaves_single_letters_out():
    assert index_terms("a 서울에서 나 x2") == ["서울", "울에", "에서", "나", "x2"]
    assert index_terms("\u1109\u1165\u110b\u116e\u11af") == ["서울"]  # decomposed


def test_forms_of_a_han_character_are_the_same_term():
    assert terms("葛\U000e0100城") == terms("葛城")


def test_terms_as_they_stand():
    assert terms("ＡＢ か\u3099き", composed=False) == ["ａｂ", "か\u3099き"]


def test_characters():
    assert characters("The 差旅费v2") == ["the", "差", "旅", "费", "v2"]


@given(st.text())
def test_no_letter_is_lost(text):
    assert "".join(words(text)) == "".join(text.split())
    assert join_words(words(text)) == " ".join(text.split())


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_latin_texts_are_split_at_spaces(text):
    assert words(text) == text.split()
    assert all(type(word) is str for word in words(text))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("One, e.g. two. Three? Four!", ["One, e.g. two.", "Three?", "Four!"]),
        ("v1.2 is out", ["v1.2 is out"]),
        ("approx.  five. \t Six", ["approx.  five.", "Six"]),
        ("他说：“好！”然后走了。再见！？完", ["他说：“好！”", "然后走了。", "再见！？", "完"]),
        ("真的?好的!行", ["真的?", "好的!", "行"]),
        ("値は３．５です．次", ["値は３．５です．", "次"]),
        ("半角です｡次", ["半角です｡", "次"]),
        ("هل أنت هنا؟ نعم. لا", ["هل أنت هنا؟", "نعم.", "لا"]),
        ("یہ ہے۔ وہ ہے۔", ["یہ ہے۔", "وہ ہے۔"]),
        ("यह है। वह है॥", ["यह है।", "वह है॥"]),
        ("Բարև։ Այո։", ["Բարև։", "Այո։"]),
        ("ሰላም። ደህና፧", ["ሰላም።", "ደህና፧"]),
        ("ខ្មែរ។ល្អ៕", ["ខ្មែរ។", "ល្អ៕"]),
        ("မြန်မာ။ကောင်း", ["မြန်မာ။", "ကောင်း"]),
        ("བོད་ཡིག། དེ", ["བོད་ཡིག།", "དེ"]),
        ("ผมรัก ทำไม 25 คน", ["ผมรัก", "ทำไม 25 คน"]),
        ("ສະບາຍດີ ຂອບໃຈ", ["ສະບາຍດີ", "ຂອບໃຈ"]),
    ],
)
def test_sentences(line, found):
    assert [sentence for sentence in split_sentences(line) if sentence] == found


def test_sentences_of_a_part_of_a_text():
    assert list(sentence_spans("一。二。三。", 2, 5)) == [(2, 4), (4, 5)]


def test_a_long_row_of_marks_takes_linear_time():
    text = "a" + "\u0315" * 100_000 + "\u0300" * 100_000 + " b\u0308"
    start = time.perf_counter()
    assert index_terms(text) == terms(text) == ["a" + "\u0315" * 30, "b\u0308"]
    assert characters("カ" + "\u0315" * 100_000 + "\uff9e\u0315" * 100_000) != []
    assert time.perf_counter() - start < 5  # hours in quadratic time


def test_thirty_marks_are_kept_in_their_canonical_order():
    assert normalize("NFC", "a" + "\u0315" * 29 + "\u0300") == "à" + "\u0315" * 29
    assert normalize("NFKC", "ｶﾞ" * 40) == "ガ" * 40


def test_words_of_letters():
    assert is_alphabetic("हिन्दी") and is_alphabetic("word") and is_alphabetic("差旅")
    assert not is_alphabetic("v2") and not is_alphabetic("") and not is_alphabetic("\u0301")


@pytest.mark.parametrize(
    ("word", "bare"),
    [("(word),", "word"), ("--a-b--", "a-b"), ("...", ""), ("“好！”", "好"), ("(हिन्दी)", "हिन्दी")],
)
def test_without_punctuation(word, bare):
    assert without_punctuation(word) == bare
