import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789./-_:#?=&"
WORDS = ["docs", "python", "org", "library", "html", "anna", "guide", "path", "https", "the", "of"]


def word_pieces(**special):
    """A real WordPiece tokenizer of every character, whole and inside a word, and some words."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>", *WORDS, *CHARACTERS]
    vocabulary += [f"##{character}" for character in CHARACTERS]
    model = models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **special)


@pytest.fixture(scope="session")
def tokenizer():
    return word_pieces(eos_token="</s>", sep_token="[SEP]", pad_token="[PAD]")


@pytest.fixture(scope="session")
def bert_tokenizer():
    return word_pieces(sep_token="[SEP]", cls_token="[CLS]", pad_token="[PAD]")
