"""Small random encoders in the formats of sentence-transformers, written by the library itself."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling, StaticEmbedding
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WIDTH = 16
PROMPTS = {"query": "search for this: ", "document": "text: "}
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2} | {
    "intermediate_size": 24,
    "max_position_embeddings": 80,
    "initializer_range": 0.5,  # large enough to distinguish texts without training
}


class Formats:
    """Writes one folder for each format."""

    def __init__(self, tiny_encoder: Path, folder: Path) -> None:
        self.source, self.folder = tiny_encoder, folder
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(tiny_encoder / "tokenizer.json"), pad_token="[PAD]",
            unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        )  # fmt: skip
        self.size = {"vocab_size": len(self.tokenizer), "pad_token_id": 0}

    def write(self, name: str) -> str:
        """Write a format's folder once, and return its path."""
        made = self.folder / name
        if not made.exists():
            torch.manual_seed(7)
            getattr(self, name.replace("-", "_"))(made)
        return str(made)

    def network(self, net, name: str, tokenizer=None) -> Transformer:
        folder = self.folder / "networks" / name
        net.save_pretrained(folder)
        (tokenizer or self.tokenizer).save_pretrained(folder)
        return Transformer(str(folder))

    def bert(self, name="bert", **sizes) -> Transformer:
        return self.network(BertModel(BertConfig(**SMALL | sizes, **self.size)), name)

    def cls_prompts(self, folder):
        model = [self.bert(), Pooling(WIDTH, "cls"), Normalize()]
        SentenceTransformer(modules=model, prompts=PROMPTS).save_pretrained(str(folder))

    def mean_dense(self, folder):
        layers = [Pooling(WIDTH, "mean"), Dense(WIDTH, 24), LayerNorm(24), Normalize()]
        SentenceTransformer(modules=[self.bert(), *layers]).save_pretrained(str(folder))

    def without_prompt(self, folder):
        """Weighted mean and the maximum, without the tokens of the prompt; truncated vectors."""
        pooling = Pooling(WIDTH, ("weightedmean", "max"), include_prompt=False)
        network = self.network(MPNetModel(MPNetConfig(**SMALL, **self.size)), "mpnet")
        network.max_seq_length = 30
        model = SentenceTransformer(
            modules=[network, pooling], prompts={"query": "instruct: find it"}, truncate_dim=20
        )
        model.save_pretrained(str(folder))

    def last_token(self, folder):
        """Like Qwen3-Embedding: causal, padded on the left."""
        config = Qwen3Config(**SMALL, **self.size, head_dim=8, num_key_value_heads=1)
        network = self.network(Qwen3Model(config), "qwen", self.tokenizer)
        network.tokenizer.padding_side = "left"
        model = [network, Pooling(WIDTH, "lasttoken"), Normalize()]
        prompts = {"query": "instruct: find the text\nquery: ", "document": ""}
        SentenceTransformer(modules=model, prompts=prompts).save_pretrained(str(folder))

    def t5_encoder(self, folder):
        """Like gtr-t5 and sentence-t5, whose Dense layer has no activation function."""
        config = T5Config(
            d_model=WIDTH, d_kv=8, d_ff=24, num_layers=2, num_heads=2, initializer_factor=5.0,
            **self.size,
        )  # fmt: skip
        dense = Dense(WIDTH, WIDTH, bias=False, activation_function=torch.nn.Identity())
        model = [self.network(T5EncoderModel(config), "t5"), Pooling(WIDTH), dense, Normalize()]
        SentenceTransformer(modules=model).save_pretrained(str(folder))

    def multilingual(self, folder):
        """Like multilingual-e5."""
        config = XLMRobertaConfig(**SMALL | {"max_position_embeddings": 82}, **self.size)
        network = self.network(XLMRobertaModel(config), "xlm")
        network.max_seq_length = 80  # the library would take 82, of which two are reserved
        model = [network, Pooling(WIDTH), Normalize()]
        prompts = {"query": "query: ", "passage": "passage: "}
        SentenceTransformer(modules=model, prompts=prompts).save_pretrained(str(folder))

    def static(self, folder):
        inner = Tokenizer.from_file(str(self.source / "tokenizer.json"))
        model = [StaticEmbedding(inner, embedding_dim=WIDTH), Normalize()]
        SentenceTransformer(modules=model).save_pretrained(str(folder))

    def model2vec(self, folder):
        """The files that model2vec writes: rows shared by tokens, and a weight a token."""
        count = len(self.tokenizer)
        folder.mkdir()
        weights = {
            "embeddings": torch.randn(count // 2, WIDTH).half(),
            "mapping": torch.arange(count) // 2 % (count // 2),
            "weights": torch.rand(count).double(),
        }
        save_file(weights, folder / "model.safetensors")
        shutil.copy(self.source / "tokenizer.json", folder)
        (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
        kinds = [(".", "StaticEmbedding"), ("1_Normalize", "Normalize")]
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))

    def router(self, folder):
        """Static embeddings for queries, a transformer for documents, one Dense layer for both."""
        inner = Tokenizer.from_file(str(self.source / "tokenizer.json"))
        both = Dense(WIDTH, 12)
        query = [StaticEmbedding(inner, embedding_dim=WIDTH), both]
        towers = Router.for_query_document(query, [self.bert(), Pooling(WIDTH, "cls"), both])
        model = SentenceTransformer(modules=[towers, Normalize()], prompts={"document": "text: "})
        model.save_pretrained(str(folder))

    def two_towers(self, folder):
        """One transformer for queries and another for documents, without a shared part."""
        query = [self.bert("bert-queries"), Pooling(WIDTH, "cls")]
        document = [self.bert("bert-documents", num_hidden_layers=1), Pooling(WIDTH)]
        towers = Router.for_query_document(query, document)
        SentenceTransformer(modules=[towers]).save_pretrained(str(folder))

    def asymmetric(self, folder):
        """One transformer, and a Dense layer for each role."""
        dense = {role: [Dense(WIDTH, 12)] for role in ("query", "document")}
        model = [self.bert(), Pooling(WIDTH), Router(dense)]
        SentenceTransformer(modules=model).save_pretrained(str(folder))


FORMATS = (
    "cls-prompts", "mean-dense", "without-prompt", "last-token", "t5-encoder", "multilingual",
    "static", "model2vec", "router", "two-towers", "asymmetric",
)  # fmt: skip


def reference(folder: str) -> SentenceTransformer:
    """Load a folder with sentence-transformers, on the CPU."""
    return SentenceTransformer(folder, device="cpu", local_files_only=True)
