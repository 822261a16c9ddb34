"""Training of a tokenizer from scratch: SentencePiece unigrams as a fast transformers tokenizer.

Text is normalised to NFC, white space is collapsed, and case is kept. Characters without a piece
are encoded as bytes, so every text can be encoded.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from genir.corpus.tokens import normalize
from genir.errors import InputError
from genir.plurals import counted
from genir.types import Document

SPECIALS = ("<pad>", "</s>", "<unk>")
"""Special tokens by id: padding 0, end 1, unknown 2."""
ASCII = "".join(map(chr, range(0x21, 0x7F)))
"""Characters that always get pieces, so that `</s>` or `<0x41>` in a text can be spelled out."""
CHARS_PER_CHUNK = 1000
"""Maximum length of a training line in characters; SentencePiece skips lines over 4,192 bytes."""
MAX_CHUNKS = 500_000
"""Maximum number of training lines; more need memory but hardly change the vocabulary."""


def train_vocabulary(corpus: Sequence[Document], size: int) -> Any:
    """Return a transformers tokenizer of at most `size` tokens, trained on a corpus.

    It is trained on titles, texts and URLs, deterministically.

    Raises:
        InputError: The corpus has no text, or too many characters for `size`.
    """
    if not any(map(str.strip, _text_chunks(corpus))):
        raise InputError("no document has a title, text or URL to learn a vocabulary from")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_text_chunks(corpus),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            pad_piece=SPECIALS[0],
            required_chars=ASCII,
            num_threads=1,
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().rsplit("] ", maxsplit=1)[-1].partition(" Increase")[0]
        raise InputError(
            f"no vocabulary of {size} tokens can be learned from the "
            f"{counted(len(corpus), 'document')} ({reason}); set another model.vocabulary_size"
        ) from None
    return _as_fast_tokenizer(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()))


def _text_chunks(corpus: Sequence[Document]) -> Iterator[str]:
    """Yield training lines from evenly spaced documents."""
    step = max(1, len(corpus) // MAX_CHUNKS)
    texts = (part for d in islice(corpus, 0, None, step) for part in (d.title, d.url, d.text))
    pieces = (
        line[start : start + CHARS_PER_CHUNK]
        for text in texts
        for line in normalize("NFC", text).splitlines()
        for start in range(0, len(line), CHARS_PER_CHUNK)
    )
    return islice(pieces, MAX_CHUNKS)


def _as_fast_tokenizer(learned: Any) -> Any:
    """Build the fast tokenizer with the trained pieces and scores, saved as JSON.

    Special and byte pieces score below their spelling, so no text is encoded as them.
    """
    scores = [learned.get_score(token) for token in range(learned.vocab_size())]
    never = 10 * min(scores)
    pieces = [
        (learned.id_to_piece(token), never if score == 0.0 else score)
        for token, score in enumerate(scores)
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    pad, end, unknown = SPECIALS
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {end}", None, [(end, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        split_special_tokens=True,
    )
