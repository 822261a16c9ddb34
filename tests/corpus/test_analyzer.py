"""Index terms of a language, and its detection."""

import pytest

from genir.corpus.analyzer import ENGLISH, STEMMERS, STOP_WORDS, Analyzer, detect_language

TEXTS = {
    "en": "The cats sleep all day on the sofa, and no one may disturb them while they do so.",
    "de": "Die Katzen schlafen den ganzen Tag auf dem Sofa, und niemand darf sie dabei stören.",
    "fr": "Les chats dorment toute la journée sur le canapé, et personne ne doit les déranger.",
    "ar": "تنام القطط طوال اليوم على الأريكة، ولا يجوز لأحد أن يزعجها أثناء ذلك.",
    "zh": "猫整天睡在沙发上，谁也不能打扰它们。",  # noqa: RUF001
    "ru": "Кошки весь день спят на диване, и никто не должен им мешать.",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_detected(language):
    assert detect_language([TEXTS[language]] * 5) == language


@pytest.mark.parametrize("texts", [[], [""], ["123 456"], ["kubectl get pods"], ["\u2603"]])
def test_a_text_of_no_clear_language_is_english(texts):
    assert detect_language(texts) == ENGLISH


def test_words_are_stemmed_without_stop_words():
    assert list(Analyzer("en").terms(["The cats are sleeping", ""])) == [["cat", "sleep"], []]
    assert list(Analyzer("de").terms(["Die Katzen schlafen"])) == [["katz", "schlaf"]]
    assert list(Analyzer("zh").terms(["猫整天睡"])) == [["猫整", "整天", "天睡"]]
    assert list(Analyzer("none").terms(["The cats"])) == [["the", "cats"]]


def test_terms_keep_their_order_and_repetitions():
    assert list(Analyzer().terms(["copy copies copied file"])) == [["copi", "copi", "copi", "file"]]


@pytest.mark.parametrize("language", STEMMERS)
def test_every_listed_language_has_a_stemmer_and_its_stop_words(language):
    assert all(Analyzer(language).terms(["abcdefgh"]))
    analyzer = Analyzer(language)
    if language in STOP_WORDS:
        word = {"en": "the", "de": "und", "fr": "les", "es": "los", "it": "della", "nl": "het"}
        assert list(analyzer.terms([word.get(language, "")])) == [[]]
