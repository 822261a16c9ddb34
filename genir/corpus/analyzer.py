"""Index terms of a language: stemmed words without stop words, as search engines index them."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import Stemmer

from genir.corpus.tokens import index_terms
from genir.process_memory import block_import

with block_import("jax"):
    from bm25s import stopwords

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Snowball stemmers of PyStemmer by language code (ISO 639-1)."""
STOP_WORDS = {
    "da": "DANISH", "de": "GERMAN", "en": "EN", "es": "SPANISH", "fr": "FRENCH", "it": "ITALIAN",
    "nl": "DUTCH", "no": "NORWEGIAN", "pt": "PORTUGUESE", "ru": "RUSSIAN", "sv": "SWEDISH",
    "tr": "TURKISH",
}  # fmt: skip
"""Stop word lists of bm25s by language code."""
ALIASES = {"nb": "no", "nn": "no"}
"""Codes of the two written forms of Norwegian."""
UNSTEMMED = ("he", "ja", "km", "ko", "lo", "th", "uk", "ur", "vi", "zh")
"""Further languages that can be detected."""
ENGLISH = "en"
SAMPLE_TEXTS, SAMPLE_CHARS = 200, 300
"""Texts, and characters of each, from which the language of a corpus is detected."""
MIN_PROBABILITY = 0.99
"""A language with a smaller probability is not detected."""


class Analyzer(NamedTuple):
    """Terms of texts in one language.

    Attributes:
        language: ISO 639-1 code. Words of a language without a stemmer are not stemmed.
    """

    language: str = ENGLISH

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Analyzer":
        """Return the analyzer of the language of a corpus."""
        return cls(detect_language(texts))

    def terms(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the terms of each text in order, stemmed and without stop words."""
        if self.language not in STEMMERS:
            yield from map(index_terms, texts)
            return
        ignored, stems = stop_words(self.language), dict[str, str]()
        stemmer = Stemmer.Stemmer(STEMMERS[self.language], 0)  # `stems` is the cache
        for text in texts:
            found = index_terms(text)
            for term in found:
                if term not in stems:
                    stems[term] = stemmer.stemWord(term)
            yield [stems[term] for term in found if term not in ignored]


@cache
def stop_words(language: str) -> frozenset[str]:
    """Return the stop words of a language; empty if it has no list."""
    listed = getattr(stopwords, f"STOPWORDS_{STOP_WORDS.get(language)}", ())
    return frozenset(word.lower() for word in listed)


def detect_language(texts: Iterable[str]) -> str:
    """Return the ISO 639-1 code of the language of a corpus, from a sample of its first texts.

    English if no language is clearly detected, for example in a corpus of a few short texts.
    """
    sample = " ".join(text[:SAMPLE_CHARS] for text in islice(texts, SAMPLE_TEXTS))
    language, probability = _identifier().classify(sample)
    language = ALIASES.get(language, language)
    return language if probability >= MIN_PROBABILITY else ENGLISH


@cache
def _identifier() -> Any:
    from py3langid import langid  # loading the model takes 0.2 s

    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    identifier.set_languages([code for code in (*STEMMERS, *UNSTEMMED, *ALIASES) if code in known])
    return identifier
