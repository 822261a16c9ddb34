"""Decimal strings (DSI): spelling, insertion, and digits that a vocabulary lacks."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from genir.config import IdentifierSection
from genir.errors import InputError
from genir.identifiers.registry import build_scheme, load_scheme
from genir.types import Document

SECTION = IdentifierSection(scheme="string")


def documents(count):
    return [Document(f"d{number}", "text") for number in range(count)]


def pieces(*tokens):
    """A WordPiece tokenizer of these tokens."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "</s>", *tokens])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="</s>", pad_token="[UNK]"
    )


def test_a_number_is_its_digits_as_the_tokenizer_splits_them(tokenizer):
    scheme = build_scheme(SECTION, tokenizer).fit(documents(12))
    identifiers = [own[0] for own in scheme.encode(documents(12))]
    ids = tokenizer.convert_tokens_to_ids
    assert identifiers[7] == (ids("7"), ids("</s>"))
    assert identifiers[11] == (ids("1"), ids("##1"), ids("</s>"))
    assert [scheme.to_text(one) for one in identifiers] == [str(n) for n in range(12)]


def test_a_piece_of_several_digits_is_one_symbol():
    digits = "0123456789"
    tokenizer = pieces("12", *digits, *(f"##{digit}" for digit in digits))
    scheme = build_scheme(SECTION, tokenizer).fit(documents(124))
    identifiers = scheme.encode(documents(124))
    ids = tokenizer.convert_tokens_to_ids
    assert identifiers[12] == [(ids("12"), ids("</s>"))]
    assert identifiers[123] == [(ids("12"), ids("##3"), ids("</s>"))]


def test_added_documents_get_the_following_numbers(tokenizer, tmp_path):
    scheme = build_scheme(SECTION, tokenizer).fit(documents(3))
    used = {own[0] for own in scheme.encode(documents(3))}
    added = scheme.encode(documents(2), reserved=used)
    assert [scheme.to_text(own[0]) for own in added] == ["3", "4"]
    scheme.save(tmp_path)
    again = load_scheme(tmp_path, tokenizer)
    assert again.size == 5
    again.mark_used([scheme._spell(9)])
    assert again.to_text(again.encode(documents(1), reserved=used)[0][0]) == "10"


def test_a_vocabulary_without_a_digit_is_refused():
    scheme = build_scheme(SECTION, pieces("0", "1"))
    with pytest.raises(InputError, match=r"the number 2 as '\[UNK\]'; add the digits"):
        scheme.fit(documents(3)).encode(documents(3))
