"""Options of `[model]` for kind "encoder-head"."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from genir.config import StrictModel
from genir.corpus import vectors
from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.encoder_head.given_vectors import VECTORS, GivenVectors
from genir.models.network_loading import MINILM


class EncoderHeadOptions(StrictModel):
    """Options of `[model]` for kind "encoder-head"."""

    encoder: str = Field(
        default=MINILM,
        description="minilm, a local folder, or a hub name; vectors: none, queries have vectors",
    )
    vectors: str = Field(
        default="", description="file of document vectors, made by the encoder or any model"
    )
    query_vectors: str = Field(
        default="", description="file of the train queries' vectors, for encoder = 'vectors'"
    )
    length: int | None = Field(
        default=None,
        ge=8,
        description="tokens of a document; by default the encoder's own maximum, or 256",
    )
    query_prompt: str | None = Field(
        default=None, description="text before each query; by default the encoder's own"
    )
    document_prompt: str | None = Field(
        default=None, description="text before each document; by default the encoder's own"
    )
    scale: float = Field(default=20.0, gt=0, description="scale of the cosine softmax")
    row_init: Literal["vectors", "random"] = Field(
        default="vectors", description="initial atomic rows (OverDense or Vanilla)"
    )
    word_set_size: int | None = Field(
        default=None,
        ge=0,
        le=1024,
        description="words of a set; 0 = none; default: up to 256 with atomic identifiers",
    )
    compact_words: bool = Field(
        default=False,
        description="store 2 bytes a word: hash buckets, weighted by idf; for codes",
    )
    word_weight: float | None = Field(
        default=None,
        gt=0,
        description="weight of the word scores, whose query has unit length; by default chosen on "
        "dev queries, or 1.0 for a trained encoder and 1.8 (less if all cosines are high) for an "
        "untrained one",
    )
    language: str | None = Field(
        default=None, description="ISO 639-1 code for the words; detected by default"
    )
    document_vector_weight: float = Field(
        default=0.8,
        ge=0,
        description="weight of the trained encoder's document vector in a trained atomic row",
    )
    term_set_size: int = Field(
        default=0, ge=0, description="words of a term-set identifier, the prior (PAG); 0 = none"
    )

    @model_validator(mode="after")
    def _vectors_fit(self) -> Self:
        if self.encoder == VECTORS and not self.vectors:
            raise ValueError("encoder = 'vectors' needs the key vectors (--vectors FILE)")
        if self.encoder == VECTORS and self.term_set_size:
            raise ValueError("term_set_size needs a text encoder, not encoder = 'vectors'")
        if self.query_vectors and self.encoder != VECTORS:
            raise ValueError(
                f"query_vectors: the encoder {self.encoder!r} reads the queries itself; remove the "
                "key, or set encoder = 'vectors'"
            )
        return self

    def files(self) -> list[Path]:
        """Return the files of vectors. Raises InputError if one is missing."""
        named = {"vectors": self.vectors, "query_vectors": self.query_vectors}
        for key, file in named.items():
            if file and not Path(file).is_file():
                raise InputError(f"[model] {key} = {file!r}: no such file; check the path")
        return [Path(file) for file in named.values() if file]

    def weights(self) -> list[str]:
        """Return the names of the pre-trained networks."""
        return [] if self.encoder == VECTORS else [self.encoder]

    def load_encoder(self) -> TextEncoder | GivenVectors:
        """Load the encoder. Raises InputError if it cannot be used."""
        if self.encoder == VECTORS:
            return GivenVectors(vectors.dimension(self.vectors))
        return TextEncoder.pretrained(
            self.encoder, self.length, self.query_prompt, self.document_prompt
        )
