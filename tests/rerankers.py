"""Small random re-rankers in each format, written by the libraries themselves."""

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 82, "initializer_range": 0.5, "num_labels": 1,
}  # fmt: skip


class Rerankers:
    """Writes one folder for each format."""

    def __init__(self, tiny_encoder, folder):
        self.folder = folder
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(tiny_encoder / "tokenizer.json"), pad_token="[PAD]",
            unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]",
        )  # fmt: skip
        self.size = {"vocab_size": len(self.tokenizer), "pad_token_id": 0}

    def write(self, name):
        """Write a format's folder once, and return its path."""
        made = self.folder / name
        if not made.exists():
            torch.manual_seed(7)
            getattr(self, name.replace("-", "_"))(made)
        return str(made)

    def save(self, net, folder):
        net.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def bert(self, folder, **sizes):
        self.save(BertForSequenceClassification(BertConfig(**SMALL | sizes, **self.size)), folder)

    def library(self, folder):
        """As sentence-transformers writes it, with a prompt and scores that are logits."""
        net = self.folder / "net"
        self.bert(net)
        model = CrossEncoder(
            str(net), device="cpu", local_files_only=True, activation_fn=torch.nn.Identity(),
            prompts={"find": "find it: "}, default_prompt_name="find",
        )  # fmt: skip
        model.save_pretrained(str(folder))

    def roberta(self, folder):
        """Its positions start after the id of the padding token."""
        net = RobertaForSequenceClassification(RobertaConfig(**SMALL, **self.size))
        self.save(net, folder)

    def monot5(self, folder):
        config = T5Config(
            d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, initializer_factor=1.0,
            vocab_size=len(self.tokenizer) + 2, pad_token_id=0, decoder_start_token_id=0,
        )  # fmt: skip
        net = T5ForConditionalGeneration(config)
        net.save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer.backend_tokenizer, pad_token="[PAD]",
            unk_token="[UNK]", eos_token="[SEP]",
        )  # fmt: skip
        tokenizer.add_tokens(["true", "false"])
        tokenizer.save_pretrained(folder)

    # --- models that are refused -----------------------------------------------------------------

    def three_labels(self, folder):
        self.bert(folder, num_labels=3)

    def encoder(self, folder):
        self.save(BertModel(BertConfig(**SMALL, **self.size)), folder)

    def language_model(self, folder):
        self.save(BertForMaskedLM(BertConfig(**SMALL, **self.size)), folder)

    def bi_encoder(self, folder):
        model = SentenceTransformer(self.write("encoder"), device="cpu", local_files_only=True)
        model.save_pretrained(str(folder))

    def without_answers(self, folder):
        """T5 whose tokenizer splits "true" and "false"."""
        net = T5ForConditionalGeneration.from_pretrained(self.write("monot5"))
        self.save(net, folder)

    def without_head(self, folder):
        """The configuration of a cross-encoder with the weights of an encoder."""
        self.encoder(folder)
        BertConfig(
            **SMALL, **self.size, architectures=["BertForSequenceClassification"]
        ).save_pretrained(folder)

    def more_layers(self, folder):
        """A cross-encoder with a module of another type after its transformer."""
        self.bert(folder)
        kinds = ("base.modules.transformer.Transformer", "base.modules.dense.Dense")
        rows = (f'{{"path": "", "type": "sentence_transformers.{kind}"}}' for kind in kinds)
        (folder / "modules.json").write_text(f"[{', '.join(rows)}]")

    def pickled(self, folder):
        self.bert(folder)
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


CROSS_ENCODERS = ("bert", "library", "roberta")
REFUSED = {
    "absent": "there is no such folder",
    "three-labels": "it has 3 labels, but a re-ranker has one score",
    "encoder": "it is a BertModel, not a cross-encoder",
    "language-model": "it is a BertForMaskedLM, not a cross-encoder",
    "bi-encoder": "it is a BertModel, not a cross-encoder",
    "without-answers": 'its tokenizer has no single tokens for "true" and "false"',
    "without-head": "its weights lack classifier.bias and 1 more",
    "more-layers": "its modules.json has the layers",
    "pickled": "its weights are only in pytorch_model.bin, a format that can run code",
}
"""Folders that are refused, with a part of the message."""


def library_scores(folder, pairs):
    """Score pairs with sentence-transformers, on the CPU."""
    # RoBERTa reserves one of its 82 positions, which the library ignores.
    length = 81 if folder.endswith("roberta") else None
    model = CrossEncoder(folder, device="cpu", local_files_only=True, max_length=length)
    return model.predict(pairs, show_progress_bar=False).tolist()
