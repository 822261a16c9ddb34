"""Weights of other programs: unsuitable ones are refused."""

import shutil

import pytest
import torch
from nets import BART, T5
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from genir.errors import InputError
from genir.models.encoder import TextEncoder
from genir.models.pretrained import Seq2SeqOptions, load_seq2seq
from genir.models.tokenizer_training import train_vocabulary
from genir.types import Document

WORDS = [Document("a", "copy a file, erase the whole directory tree of a disk. What is it?")]
QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    """A copy of the tiny BERT's folder, to be damaged."""
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


def rewrite(folder, change):
    """Write the weights of a folder as `change` returns them, key by key."""
    weights = load_file(folder / "model.safetensors")
    changed = {key: change(key, tensor).contiguous() for key, tensor in weights.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    return changed


def write_net(net, folder):
    tokenizer = train_vocabulary(WORDS, 400)
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def t5(folder):
    size = {"vocab_size": len(train_vocabulary(WORDS, 400))}
    return write_net(T5ForConditionalGeneration(T5Config(**T5 | size)), folder)


@pytest.mark.parametrize("key", ["embeddings.word_embeddings.weight", QUERY])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(folder, key, value):
    weights = rewrite(folder, lambda _, tensor: tensor)
    weights[key][-1] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"values that are not finite, in {key}"):
        TextEncoder.pretrained(str(folder), 16)


def test_a_pooler_is_never_called_so_its_values_do_not_matter(folder, fp32):
    before = TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document")
    weights = rewrite(folder, lambda key, tensor: tensor)
    weights["pooler.dense.weight"] = torch.full((16, 16), torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert (TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document") == before).all()


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize(
    ("kind", "stored"),
    [(torch.int32, "I32"), (torch.bool, "BOOL"), (torch.complex64, "C64"), (torch.int8, "I8")],
)
@pytest.mark.parametrize("whole", [False, True])
def test_weights_are_floats(folder, kind, stored, whole):
    change = lambda key, tensor: (tensor * 50).to(kind) if whole or key == QUERY else tensor  # noqa: E731
    rewrite(folder, change)
    with pytest.raises(InputError, match=rf"the type {stored} in .*, not a plain float"):
        TextEncoder.pretrained(str(folder), 16)


@pytest.mark.parametrize(
    "kind", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_floats_of_any_width_are_taken(folder, kind):
    rewrite(folder, lambda _, tensor: tensor.to(kind))
    assert TextEncoder.pretrained(str(folder), 16).embeddings.dtype == torch.float32


def test_integers_that_are_no_weights_are_passed_over(folder, fp32):
    before = TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document")
    weights = rewrite(folder, lambda _, tensor: tensor)
    weights |= {"embeddings.position_ids": torch.arange(32)[None], "step": torch.tensor([3])}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert (TextEncoder.pretrained(str(folder), 16).embed(["copy"], "document") == before).all()


def test_the_types_of_parts_are_looked_at(folder):
    net = TextEncoder.pretrained(str(folder), 16).backbone
    (folder / "model.safetensors").unlink()
    net.save_pretrained(folder, max_shard_size="4KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    weights = load_file(parts[-1])
    save_file({k: (v * 9).int() for k, v in weights.items()}, parts[-1], {"format": "pt"})
    with pytest.raises(InputError, match=r"the type I32 in .*, not a plain float"):
        TextEncoder.pretrained(str(folder), 16)


@pytest.mark.parametrize("rest", ["", "encoder.layer"])
def test_a_file_that_was_not_fetched_to_its_end_is_refused(folder, rest):
    """Its header is there, and its data are zeros, from some place on."""
    rewrite(folder, lambda key, x: torch.zeros_like(x) if key.startswith(rest) else x)
    with pytest.raises(
        InputError, match=r"its weights are all zero in .* and \d+ more; .*download it"
    ):
        TextEncoder.pretrained(str(folder), 16)


def test_a_table_of_types_that_roberta_fills_with_zeros_is_taken(folder):
    table = "embeddings.token_type_embeddings.weight"
    weights = rewrite(folder, lambda key, x: torch.zeros_like(x) if key == table else x)
    assert not weights[table].any()
    assert TextEncoder.pretrained(str(folder), 16)


def test_the_decoder_of_an_encoder_that_is_taken_alone_does_not_matter(tmp_path):
    folder = write_net(
        BartForConditionalGeneration(
            BartConfig(**BART | {"vocab_size": len(train_vocabulary(WORDS, 400))})
        ),
        tmp_path / "bart",
    )
    rewrite(folder, lambda key, x: torch.full_like(x, torch.nan) if "decoder.layers" in key else x)
    assert TextEncoder.pretrained(str(folder), 16)
    with pytest.raises(InputError, match=r"not finite, in model.decoder.layers"):
        load_seq2seq(Seq2SeqOptions(source=str(folder)), WORDS)


def test_an_encoder_decoder_of_zeros_is_refused(tmp_path):
    folder = t5(tmp_path / "t5")
    rewrite(folder, lambda key, x: torch.zeros_like(x) if key.startswith("decoder.") else x)
    with pytest.raises(InputError, match=r"its weights are all zero in decoder\."):
        load_seq2seq(Seq2SeqOptions(source=str(folder)), WORDS)


@pytest.mark.parametrize("lost", ["decoder.block.0", "encoder.block.0"])
def test_an_encoder_decoder_without_a_part_of_its_weights_is_refused(tmp_path, lost):
    folder = t5(tmp_path / "t5")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(lost)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"its weights lack .*, which would be initialised"):
        load_seq2seq(Seq2SeqOptions(source=str(folder)), WORDS)


@pytest.mark.parametrize(
    "content", ['{"weight_map": ["a"]}', '{"weight_map": {"a": 3}}', '{"weight_map": null}']
)
def test_an_index_of_shards_without_file_names_is_refused(content, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match=r"index\.json has no weight_map of file names"):
        TextEncoder.pretrained(str(folder))


def test_a_pointer_of_git_lfs_is_named(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(InputError, match="is a Git LFS pointer, not the weights; run `git lfs pu"):
        TextEncoder.pretrained(str(folder))


def test_a_byte_order_mark_before_the_configuration_is_named(folder):
    path = folder / "config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    with pytest.raises(InputError, match="not valid JSON in UTF-8 without a byte order mark"):
        TextEncoder.pretrained(str(folder))
