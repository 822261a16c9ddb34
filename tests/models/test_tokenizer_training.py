"""The vocabulary from scratch: every text can be written, read back, and is learned alike."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from genir.errors import InputError
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

WORDS = ["create", "extract", "archive", "list", "files", "text", "script", "replace", "words"]
CORPUS = [
    Document(f"{a}-{b}", f"{a} the {b}\n{b} and {a}", f"{a} {b}", f"https://x.org/{a}/{b}")
    for a in WORDS
    for b in WORDS
]
TOKENIZER = train_vocabulary(CORPUS, 450)


def written(text, tokenizer=TOKENIZER):
    tokens = tokenizer.encode(text, add_special_tokens=False)
    assert not {0, 1, 2} & set(tokens)
    return tokenizer.decode(tokens)


def test_specials_have_their_places():
    assert TOKENIZER.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]
    assert (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id, TOKENIZER.unk_token_id) == (0, 1, 2)
    assert TOKENIZER("tar")["input_ids"][-1] == 1
    assert TOKENIZER("")["input_ids"] == [1]
    assert len(TOKENIZER) <= 450


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=20))
def test_any_text_can_be_written(text):
    normal = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    assert written(text) == normal.replace("▁", " ").strip(" ")


@pytest.mark.parametrize("text", ["a </s> b", "<0x41> <pad>", "日本 ☃", "https://x.org/a-b?c=1"])
def test_text_that_looks_special_is_spelled_out(text):
    assert written(text) == text


def test_words_of_the_corpus_are_short():
    assert len(TOKENIZER.encode("files", add_special_tokens=False)) < len("files")


def test_it_is_saved_as_json_and_read_back(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    assert {f.suffix for f in tmp_path.iterdir()} == {".json"}
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "archive </s> ☃ of  files"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert written(text, again) == "archive </s> ☃ of files"


LEARN = """
from test_tokenizer_training import TOKENIZER
print(TOKENIZER.backend_tokenizer.to_str())
"""


def test_the_same_corpus_gives_the_same_tokens_in_another_process():
    path = {"PYTHONHASHSEED": "7", "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-c", LEARN]
    run = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == TOKENIZER.backend_tokenizer.to_str()


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ([], "no document has a title, text or URL"),
        ([Document("a", " \n")], "no document has a title, text or URL"),
        ([Document("a", "".join(map(chr, range(0x4E00, 0x4E80))))], "set another model.vocabulary"),
    ],
)
def test_a_corpus_that_gives_no_vocabulary_is_refused(corpus, message):
    with pytest.raises(InputError, match=message):
        train_vocabulary(corpus, 400)
