"""Any transformers model that writes text: an encoder-decoder or a causal language model.

It reads a prompt and samples what comes next, by transformers' own `generate`. With noise on the
embeddings of what it reads, samples differ more (UDEG, 2021). Knows no documents.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers.modeling_outputs import BaseModelOutput

from genir.arguments import as_texts, is_blank
from genir.config import Precision, PseudoSection
from genir.errors import InputError
from genir.models.encoder import load_network, load_pretrained
from genir.models.foreign import (
    add_padding,
    check_files,
    check_token,
    check_vocabulary,
    refusal,
    refusing,
)
from genir.models.limits import positions
from genir.models.precision import DTYPES, choose
from genir.models.seq2seq import Seq2SeqModel
from genir.models.sources import START_TOKEN, refuse_family
from genir.models.trial import TEXTS, compare
from genir.retriever import Retriever

OTHER_WRITER = "give a causal language model such as GPT-2, Llama or Qwen, or a T5 or BART model"
CAUSAL = 0.2
"""How far logits may be apart, in their own spread, in bf16; without causality they have nothing in
common."""
LONGEST = 512
"""Tokens of a prompt, where neither model nor tokenizer asks for fewer."""


class Writer:
    """A model that continues prompts; `longest` is how many tokens of one it reads."""

    def __init__(self, net: Any, tokenizer: Any, longest: int = LONGEST) -> None:
        self.net = net.eval()
        # Nothing else of the model's own: its limits of time and length, penalties or beams would
        # change the queries, and a limit of time from run to run.
        first = net.generation_config.forced_bos_token_id  # a language, for mBART and M2M100
        net.generation_config = GenerationConfig(forced_bos_token_id=first)
        self.precision = "bf16" if net.dtype == torch.bfloat16 else "fp32"
        self.tokenizer = tokenizer
        self.causal = not net.config.is_encoder_decoder
        if self.causal:  # the end of a prompt stands next to what follows, and is never cut
            tokenizer.padding_side = tokenizer.truncation_side = "left"
        self.longest = min(longest, tokenizer.model_max_length)

    @classmethod
    def open(cls, source: str, device: torch.device | str, precision: Precision = "auto") -> Self:
        """Load a model folder of genir's, or a transformers model by folder or name.

        precision: of the whole network; auto: bf16 where that is faster on `device`, as a draw
        among likely tokens needs no more. Raises InputError when the model cannot be loaded, or
        writes no text.
        """
        if (Path(source) / "manifest.json").is_file():
            return cls._trained(Path(source), device, precision)
        check_files(source)
        config = load_pretrained(AutoConfig, source)
        if config.is_encoder_decoder:
            refuse_family(source, config)
        tokenizer = load_pretrained(AutoTokenizer, source)
        if tokenizer.model_max_length < 1:
            raise refusal(
                source, f"model_max_length = {tokenizer.model_max_length} in tokenizer_config.json",
                "set it to the tokens that the model reads, or remove it",
            )  # fmt: skip
        add_padding(tokenizer, source)
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        net = load_network(loader, source, _dtype(device, precision))
        with refusing(source, type(net).__name__, OTHER_WRITER):
            _check_tokens(source, net, tokenizer)
            writer = cls(net, tokenizer)
            writer._try()
        writer.net = net.to(device)
        return writer

    def _try(self) -> None:
        """Write a few tokens, and see that a causal model reads from left to right.

        Raises:
            TrialFailed: if what is read depends on what follows.
        """
        self._sample(TEXTS, PseudoSection(length=3), 0)
        if not self.causal:
            return
        ids = self.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            whole = self.net(input_ids=ids).logits[:, :-1].float()
            begun = self.net(input_ids=ids[:, :-1]).logits.float()
        spread = whole.std()
        compare(begun / spread, whole / spread, "its logits depend on what follows", CAUSAL)

    @classmethod
    def _trained(cls, folder: Path, device: torch.device | str, precision: Precision) -> Self:
        retriever = Retriever.load(folder, device)
        if retriever.recipe.decoding.mode != "free" or not isinstance(
            retriever.model, Seq2SeqModel
        ):
            raise InputError(
                f"{folder}: finds documents, and writes no queries; take a model of the recipe "
                "query-generator"
            )
        net = retriever.model.transformer.whole()
        training = retriever.recipe.training
        asked = training.precision if precision == "auto" else precision
        net = net.to(_dtype(device, asked))
        return cls(net, retriever.model.tokenizer, training.source_length)

    def write(self, prompts: str | Sequence[str], options: PseudoSection, seed: int) -> list[str]:
        """Sample a continuation of each prompt; the same seed gives the same.

        A string is one prompt. Raises InputError for anything but texts.
        """
        return self._sample(as_texts(prompts, "prompts"), options, seed)

    @torch.inference_mode()
    def _sample(self, prompts: Sequence[str], options: PseudoSection, seed: int) -> list[str]:
        longest = self._room(options.length)
        read, places = self._once(prompts, options)
        tokens = self.tokenizer(
            read, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.net.device)
        with _seeded(seed, self.net.device):
            given = self._read(tokens["input_ids"], tokens["attention_mask"], places, options)
            written = self._continue(given, options)
        texts: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [first_line(text) for text in texts]

    def _room(self, length: int) -> int:
        """Return how many tokens are read, so that both they and what is written have positions.

        Raises InputError if the model has too few for texts of `length` tokens.
        """
        if self.causal:  # what is written stands in the same row
            places = positions(self.net)
            room = (places or self.longest + length) - length
        else:
            places = positions(self.net.get_decoder())
            room = self.longest if places is None or length < places else 0
        if room < 1:
            raise InputError(
                f"[pseudo] length = {length}: the model has {places} positions, which leaves no "
                "room for as many tokens; set a smaller length"
            )
        read = None if self.causal else positions(self.net.get_encoder())
        return min(self.longest, room, read or room)

    def _once(self, prompts: Sequence[str], options: PseudoSection) -> tuple[list[str], Tensor]:
        """Return the prompts to read and, for each one given, its place among them: int64 [B].

        An encoder reads equal ones once, unless each is to have noise of its own.
        """
        once = not self.causal and not options.noise
        read = list(dict.fromkeys(prompts)) if once else list(prompts)
        place = {prompt: n for n, prompt in enumerate(read)}
        places = [place[prompt] for prompt in prompts] if once else range(len(read))
        return read, torch.tensor(places, device=self.net.device)

    def _read(
        self, ids: Tensor, mask: Tensor, places: Tensor, options: PseudoSection
    ) -> dict[str, Any]:
        """Read prompts, int64 [R, S] each; return what B of them, by place, go on from."""
        reader = self.net if self.causal else self.net.get_encoder()
        embeds = reader.get_input_embeddings()(ids)
        if options.noise:
            embeds = embeds + options.noise * embeds.std() * torch.randn_like(embeds)
        if self.causal:
            return {"inputs_embeds": embeds, "attention_mask": mask}
        states = reader(inputs_embeds=embeds, attention_mask=mask).last_hidden_state[places]
        output = BaseModelOutput(last_hidden_state=states)
        return {"encoder_outputs": output, "attention_mask": mask[places]}

    def _continue(self, given: dict[str, Any], options: PseudoSection) -> Tensor:
        """Return the tokens that follow what was read: int64 [B, T]."""
        end = self.tokenizer.eos_token_id
        settings = GenerationConfig(
            do_sample=not options.top_k,
            num_beams=1,
            max_new_tokens=options.length,
            eos_token_id=self.tokenizer.sep_token_id if end is None else end,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.bos_token_id,
            decoder_start_token_id=getattr(self.net.config, "decoder_start_token_id", None),
        )
        drawn = LogitsProcessorList()
        if options.top_k:
            drawn.append(Draw(options.temperature, options.top_k, options.top_p))
        else:
            settings.update(temperature=options.temperature, top_k=0, top_p=options.top_p)
        written: Tensor = self.net.generate(
            **given, generation_config=settings, logits_processor=drawn
        )
        return written


class Draw(LogitsProcessor):
    """Draws a token among the best few of each row, and leaves nothing else to choose.

    The same draw as transformers' own, which makes up a number for each token of the vocabulary:
    half of the time that a CPU takes to write queries.
    """

    def __init__(self, temperature: float, top_k: int, top_p: float) -> None:
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores, float32 [B, V], that are -inf but for the token drawn."""
        best = scores.topk(min(self.top_k, scores.shape[-1]))
        chances = (best.values / self.temperature).softmax(dim=-1)
        better = chances.cumsum(dim=-1) - chances
        # The best is never left out: nothing is better than it.
        chances = chances.masked_fill(better >= self.top_p, 0.0)
        drawn = best.indices.gather(1, chances.multinomial(1))
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)


def _check_tokens(source: str, net: Any, tokenizer: Any) -> None:
    """Raise InputError for a token, of the tokenizer or a configuration, without an embedding."""
    rows = len(net.get_input_embeddings().weight)
    check_vocabulary(tokenizer, rows, source)
    named = {
        START_TOKEN: getattr(net.config, "decoder_start_token_id", None),
        "forced_bos_token_id in its generation_config.json": (
            net.generation_config.forced_bos_token_id
        ),
    }
    for key, value in named.items():
        if value is not None:
            check_token(source, key, value, rows)


def _dtype(device: torch.device | str, precision: Precision) -> torch.dtype:
    """Return the precision of the whole network."""
    return DTYPES[choose("writing", torch.device(device).type, precision)]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Any:
    """Draw by a seed of one's own, and leave everybody else's draws as they are."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def first_line(text: str) -> str:
    """Return the first line that is not blank, with single spaces; "" where there is none."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next((line for line in lines if not is_blank(line)), "")
