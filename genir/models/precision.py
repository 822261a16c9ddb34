"""Precision of matrix products: float32, or bf16 where it was measured to be faster.

A processor with bf16 instructions is not always faster with them: on some without AMX, bf16
products take twice as long as float32, and autocast adds casts. So `auto` times both, once a
process for each kind of work.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from itertools import product as combinations
from time import get_clock_info, perf_counter, thread_time
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genir.config import Precision
from genir.models.engine.onednn import product

DType = Literal["bf16", "fp32"]
Workload = Literal["training", "embedding", "answering", "writing"]
"""Kinds of work: training steps; embedding of texts in batches; inference on few rows (queries and
decoder steps); query generation with a whole network in one precision."""
WORKLOADS: tuple[Workload, ...] = get_args(Workload)
PrecisionByWorkload = Mapping[str, Mapping[Workload, DType]]
"""Precision of each kind of work, by device type."""

DEVICE_TYPES = ("cpu", "cuda", "mps")
MAX_BF16_SHARE = 0.9
"""bf16 is used if it takes at most this share of float32's time."""
TIMING_ROUNDS = 20
TIMING_WIDTH = 384
"""Matrix width of the measurement (MiniLM's). The ratio hardly depends on the size (measured from 8
to 4,096 rows), and short products are less often interrupted on a busy machine."""
CLOCK = thread_time if get_clock_info("thread_time").resolution < 1e-5 else perf_counter
DTYPES: Mapping[DType, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Timing:
    """Seconds of a product in each precision: the minimum of several rounds."""

    fp32: float
    bf16: float

    @property
    def share(self) -> float:
        """Time of bf16 relative to float32."""
        return self.bf16 / self.fp32


_fixed: dict[tuple[str, Workload], tuple[DType, str]] = {}
"""Choices set by `fixed` or `override`, each with its reason."""


def choose(work: Workload, device_type: str, asked: Precision = "auto") -> DType:
    """Return the precision of a kind of work on a type of device.

    `fixed` and `override` take precedence over `asked`, and `asked` over the measurement. On CUDA
    the hardware decides: tensor cores multiply bf16 several times as fast.
    """
    fixed = _fixed.get((device_type, work))
    if fixed is not None:
        return fixed[0]
    if asked != "auto":
        return asked
    if not has_bf16(device_type):
        return "fp32"
    if device_type != "cpu":
        return "bf16"
    return "bf16" if timing(work).share <= MAX_BF16_SHARE else "fp32"


def autocast(
    device: torch.device, work: Workload, asked: Precision = "auto"
) -> AbstractContextManager[Any]:
    """Return the autocast context of a kind of work: bf16, or float32."""
    if choose(work, device.type, asked) == "bf16":
        on_gpu = device.type == "cuda"
        return _cuda_bf16() if on_gpu else torch.autocast(device.type, torch.bfloat16)
    if torch.is_autocast_enabled(device.type):  # set by an outer context
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@contextmanager
def _cuda_bf16() -> Iterator[None]:
    """Autocast to bf16 on CUDA with torch's own attention kernels.

    cuDNN's attention is planned for each new shape, and here almost every batch and search step has
    a new one.
    """
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(kernels):
        yield


@cache
def has_bf16(device_type: str) -> bool:
    """Return whether a type of device has bf16 instructions."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return device_type == "cpu" and bool(
        capabilities.get("avx512_bf16") or capabilities.get("bf16")
    )


# --- choices in force --------------------------------------------------------------------------


@contextmanager
def fixed(choices: PrecisionByWorkload) -> Iterator[None]:
    """Use these choices in the block; others are unchanged."""
    before = dict(_fixed)
    reason = "as in the training around it"
    _fixed.update(
        {(kind, work): (own[work], reason) for kind, own in choices.items() for work in own}
    )
    try:
        yield
    finally:
        _fixed.clear()
        _fixed.update(before)


def override(precision: Precision) -> None:
    """Use one precision for all work of this process (`--precision`); `auto` changes nothing."""
    if precision != "auto":
        taken = (precision, "as asked for")
        _fixed.update(dict.fromkeys(combinations(DEVICE_TYPES, WORKLOADS), taken))


def describe(device_type: str, works: Sequence[Workload], asked: Precision = "auto") -> str:
    """Return the choices and the reason as a line of text."""
    choices = {work: choose(work, device_type, asked) for work in works}
    return summary_line(choices, reason_for(device_type, works, asked))


def summary_line(choices: Mapping[Workload, DType], reason: str) -> str:
    """Return choices with a reason as a line of text."""
    return ", ".join(f"{work} {taken}" for work, taken in choices.items()) + f" ({reason})"


def reason_for(device_type: str, works: Sequence[Workload], asked: Precision) -> str:
    """Return the reason of the choice of `choose`."""
    for work in works:
        if (device_type, work) in _fixed:
            return _fixed[device_type, work][1]
    if asked != "auto":
        return "as asked for"
    if not has_bf16(device_type):
        return f"this {device_type} has no bf16 instructions"
    if device_type != "cpu":
        return f"this {device_type} has bf16 instructions"
    shares = ", ".join(f"{timing(work).share:.2f}" for work in works)
    return f"measured: bf16 takes {shares} of float32's time; --precision overrides"


# --- the measurement ---------------------------------------------------------------------------


@cache
def timing(work: Workload) -> Timing:
    """Return the measurement of a kind of work, cached for this process."""
    return measure(work)


def bf16_speed_up(work: Workload) -> float:
    """Return the measured speed-up of bf16 over float32; 1 without bf16 instructions."""
    return 1 / timing(work).share if has_bf16("cpu") else 1.0


def measure(work: Workload) -> Timing:
    """Time the products of a kind of work on the CPU, alternating between precisions.

    The products include casts of activations, use prepacked weights if the work does, and include
    the backward pass in training. Measured on one thread in thread CPU time: wall time on several
    threads of a busy machine measures other processes (4 of 24 choices were wrong at a load of 5 a
    core). The random state and the number of threads are restored.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng([]), torch.inference_mode(False), torch.enable_grad():
            return _by_turns(_RUNS[work]())
    finally:
        torch.set_num_threads(threads)


def _by_turns(run: "Run") -> Timing:
    best: dict[DType, float] = dict.fromkeys(DTYPES, float("inf"))
    for taken in best:
        run(taken)  # warm-up
    for _ in range(TIMING_ROUNDS):
        for taken in best:
            began = CLOCK()
            run(taken)
            best[taken] = min(best[taken], CLOCK() - began)
    return Timing(**best)


Run = Callable[[DType], object]


def _trained() -> Run:
    """Multiply under autocast, forward and backward: [128, 384] by [384, 384]."""
    linear = nn.Linear(TIMING_WIDTH, TIMING_WIDTH)
    states = torch.randn(128, TIMING_WIDTH, requires_grad=True)
    learned = [states, *linear.parameters()]

    def run(taken: DType) -> object:
        with torch.autocast("cpu", DTYPES["bf16"], enabled=taken == "bf16"):
            product = linear(states)
        return torch.autograd.grad(product, learned, torch.ones_like(product))

    return run


def _prepared(rows: int) -> Run:
    """Multiply with prepacked weights, including casts: [rows, 384] by [384, 1536]."""
    states, weight = torch.randn(rows, TIMING_WIDTH), torch.randn(4 * TIMING_WIDTH, TIMING_WIDTH)
    laid = {taken: product(weight.to(dtype), None) for taken, dtype in DTYPES.items()}

    @torch.inference_mode()
    def run(taken: DType) -> object:
        return laid[taken](states.to(DTYPES[taken])).float()

    return run


def _converted() -> Run:
    """Multiply plain matrices of one precision: [32, 384] by [384, 1536]."""
    states, weight = torch.randn(32, TIMING_WIDTH), torch.randn(4 * TIMING_WIDTH, TIMING_WIDTH)
    pairs = {taken: (states.to(dtype), weight.to(dtype)) for taken, dtype in DTYPES.items()}

    @torch.inference_mode()
    def run(taken: DType) -> object:
        return F.linear(*pairs[taken])

    return run


_RUNS: Mapping[Workload, Callable[[], Run]] = {
    "training": _trained,
    "embedding": partial(_prepared, 32),
    "answering": partial(_prepared, 10),
    "writing": _converted,
}
