"""Text generation with any transformers encoder-decoder or causal language model.

Continuations are sampled by transformers' `generate`. Noise on the input embeddings makes them
more diverse (UDEG, 2021).
"""

from collections.abc import Sequence
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

from genir.arguments import as_path, as_texts, is_blank
from genir.config import Precision, PseudoQueriesSection
from genir.errors import InputError
from genir.models.checkpoint_checks import (
    add_padding,
    check_files,
    check_token,
    check_vocabulary,
    refuse_on_error,
    unsupported_error,
)
from genir.models.devices import as_device
from genir.models.network_loading import load_network, load_pretrained
from genir.models.position_limits import positions
from genir.models.precision import DTYPES, choose
from genir.models.pretrained import START_TOKEN, require_supported_family
from genir.models.seq2seq import Seq2SeqModel
from genir.models.smoke_test import PROBE_TEXTS, compare
from genir.retriever import Retriever

SOURCE_HINT = "give a causal language model like GPT-2, Llama or Qwen, or a T5 or BART model"
MAX_CAUSAL_DIFFERENCE = 0.2
"""Maximum difference between logits in bf16, relative to their standard deviation; a model that is
not causal exceeds it by far."""
MAX_PROMPT_TOKENS = 512
"""Maximum tokens of a prompt, unless the model or tokenizer allows fewer."""


class QueryGenerator:
    """Text generation model. `max_length`: maximum tokens of a prompt."""

    def __init__(self, net: Any, tokenizer: Any, longest: int = MAX_PROMPT_TOKENS) -> None:
        self.net = net.eval()
        # Without the model's own generation settings: its limits, penalties or beams would change
        # the queries, and a time limit would make them irreproducible.
        first = net.generation_config.forced_bos_token_id  # language token of mBART and M2M100
        net.generation_config = GenerationConfig(forced_bos_token_id=first)
        self.precision = "bf16" if net.dtype == torch.bfloat16 else "fp32"
        self.tokenizer = tokenizer
        self.causal = not net.config.is_encoder_decoder
        if self.causal:  # pad and truncate on the left, next to the continuation
            tokenizer.padding_side = tokenizer.truncation_side = "left"
        self.max_length = min(longest, tokenizer.model_max_length)

    @classmethod
    def open(cls, source: str, device: torch.device | str, precision: Precision = "auto") -> Self:
        """Load a model folder of genir, or a transformers model by folder or name.

        Args:
            precision: Of the whole network; auto: bf16 where it is faster on `device`, which is
                accurate enough for sampling.

        Raises:
            InputError: the model cannot be loaded, or does not generate text, or the device is not
                available.
        """
        device = as_device(device)
        if (as_path(source, "model") / "manifest.json").is_file():
            return cls._trained(Path(source), device, precision)
        check_files(source)
        config = load_pretrained(AutoConfig, source)
        if config.is_encoder_decoder:
            require_supported_family(source, config)
        tokenizer = load_pretrained(AutoTokenizer, source)
        if tokenizer.model_max_length < 1:
            raise unsupported_error(
                source, f"model_max_length = {tokenizer.model_max_length} in tokenizer_config.json",
                "set it to the model's maximum input length, or remove it",
            )  # fmt: skip
        add_padding(tokenizer, source)
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        net = load_network(loader, source, _dtype(device, precision))
        with refuse_on_error(source, type(net).__name__, SOURCE_HINT):
            _check_tokens(source, net, tokenizer)
            writer = cls(net, tokenizer)
            writer._try()
        writer.net = net.to(device)
        return writer

    def _try(self) -> None:
        """Generate a few tokens. Raises SmokeTestFailed if logits depend on later tokens."""
        self._sample(PROBE_TEXTS, PseudoQueriesSection(length=3), 0)
        if not self.causal:
            return
        ids = self.tokenizer(PROBE_TEXTS[0], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            whole = self.net(input_ids=ids).logits[:, :-1].float()
            begun = self.net(input_ids=ids[:, :-1]).logits.float()
        spread = whole.std()
        compare(
            begun / spread,
            whole / spread,
            "its logits depend on later tokens",
            MAX_CAUSAL_DIFFERENCE,
        )

    @classmethod
    def _trained(cls, folder: Path, device: torch.device, precision: Precision) -> Self:
        retriever = Retriever.load(folder, device)
        if not retriever.recipe.decoding.is_text or not isinstance(retriever.model, Seq2SeqModel):
            raise InputError(
                f"{folder}: finds documents, but generates no queries; take a model of the recipe "
                "query-generator"
            )
        net = retriever.model.backbone.restore_output_matrix()
        training = retriever.recipe.training
        asked = training.precision if precision == "auto" else precision
        net = net.to(_dtype(device, asked))
        return cls(net, retriever.model.tokenizer, training.source_length)

    def generate(
        self, prompts: str | Sequence[str], options: PseudoQueriesSection, seed: int
    ) -> list[str]:
        """Sample one continuation per prompt, reproducibly for a seed. A string is one prompt.

        Raises:
            InputError: a prompt is not text.
        """
        return self._sample(as_texts(prompts, "prompts"), options, seed)

    @torch.inference_mode()
    def _sample(
        self, prompts: Sequence[str], options: PseudoQueriesSection, seed: int
    ) -> list[str]:
        longest = self._room(options.length)
        read, places = self._generate_batch(prompts, options)
        tokens = self.tokenizer(
            read, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.net.device)
        device = self.net.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            given = self._prefill(tokens["input_ids"], tokens["attention_mask"], places, options)
            written = self._decode_step(given, options)
        texts: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [first_line(text) for text in texts]

    def _room(self, length: int) -> int:
        """Return the maximum tokens of a prompt. Raises InputError for too few positions."""
        if self.causal:  # prompt and continuation share the positions
            places = positions(self.net)
            room = (places or self.max_length + length) - length
        else:
            places = positions(self.net.get_decoder())
            room = self.max_length if places is None or length < places else 0
        if room < 1:
            raise InputError(
                f"[pseudo_queries] length = {length}: the model has {places} positions, too few "
                "for prompt and text; set a smaller length"
            )
        read = None if self.causal else positions(self.net.get_encoder())
        return min(self.max_length, room, read or room)

    def _generate_batch(
        self, prompts: Sequence[str], options: PseudoQueriesSection
    ) -> tuple[list[str], Tensor]:
        """Return the prompts to encode and each given prompt's index among them, int64 [B].

        Equal prompts are encoded once, unless they get different noise.
        """
        once = not self.causal and not options.noise
        read = list(dict.fromkeys(prompts)) if once else list(prompts)
        place = {prompt: n for n, prompt in enumerate(read)}
        places = [place[prompt] for prompt in prompts] if once else range(len(read))
        return read, torch.tensor(places, device=self.net.device)

    def _prefill(
        self, ids: Tensor, mask: Tensor, places: Tensor, options: PseudoQueriesSection
    ) -> dict[str, Any]:
        """Encode prompts, int64 [R, S] each; return `generate` inputs for B of them, by index."""
        reader = self.net if self.causal else self.net.get_encoder()
        embeds = reader.get_input_embeddings()(ids)
        if options.noise:
            embeds = embeds + options.noise * embeds.std() * torch.randn_like(embeds)
        if self.causal:
            return {"inputs_embeds": embeds, "attention_mask": mask}
        states = reader(inputs_embeds=embeds, attention_mask=mask).last_hidden_state[places]
        output = BaseModelOutput(last_hidden_state=states)
        return {"encoder_outputs": output, "attention_mask": mask[places]}

    def _decode_step(self, given: dict[str, Any], options: PseudoQueriesSection) -> Tensor:
        """Return the generated tokens, int64 [B, T]."""
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
            drawn.append(TopKSampler(options.temperature, options.top_k, options.top_p))
        else:
            settings.update(temperature=options.temperature, top_k=0, top_p=options.top_p)
        written: Tensor = self.net.generate(
            **given, generation_config=settings, logits_processor=drawn
        )
        return written


class TopKSampler(LogitsProcessor):
    """Samples a token by temperature, top-k and top-p, and masks all others.

    The distribution is that of transformers' own sampling, which draws over the whole vocabulary
    and takes half of the generation time on a CPU.
    """

    def __init__(self, temperature: float, top_k: int, top_p: float) -> None:
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores, float32 [B, V], with -inf for all tokens but the sampled one."""
        best = scores.topk(min(self.top_k, scores.shape[-1]))
        chances = (best.values / self.temperature).softmax(dim=-1)
        better = chances.cumsum(dim=-1) - chances
        # The cumulative probability excludes the token itself: the best one always stays.
        chances = chances.masked_fill(better >= self.top_p, 0.0)
        drawn = best.indices.gather(1, chances.multinomial(1))
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)


def _check_tokens(source: str, net: Any, tokenizer: Any) -> None:
    """Raise InputError if a token id of tokenizer or configuration has no embedding."""
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


def _dtype(device: torch.device, precision: Precision) -> torch.dtype:
    return DTYPES[choose("writing", device.type, precision)]


def first_line(text: str) -> str:
    """Return the first non-blank line with white space normalised, or ""."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next((line for line in lines if not is_blank(line)), "")
