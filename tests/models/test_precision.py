"""The choice of bf16 or float32: by measurement, and by whom it is overruled."""

import numpy as np
import pytest
import torch

from genir.models import precision
from genir.models.encoder import TextEncoder
from genir.models.precision import (
    WORKLOADS,
    Timing,
    autocast,
    bf16_speed_up,
    choose,
    describe,
    fixed,
    has_bf16,
    measure,
    override,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("work", WORKLOADS)
@pytest.mark.parametrize(("share", "taken"), [(0.5, "bf16"), (0.95, "fp32"), (1.8, "fp32")])
def test_bf16_is_taken_where_it_is_clearly_faster(measured, work, share, taken):
    measured(share)
    assert choose(work, "cpu") == taken
    with autocast(CPU, work):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == precision.DTYPES[taken]


def test_each_kind_of_work_is_measured_once_and_chosen_by_its_own_figures(measured):
    asked = measured({"training": 0.5, "answering": 1.2})
    for _ in range(3):
        assert choose("training", "cpu") == "bf16" and choose("answering", "cpu") == "fp32"
    assert asked == ["training", "answering"]


def test_a_processor_without_bf16_measures_nothing(measured, fp32):
    asked = measured(0.1)
    assert {choose(work, "cpu") for work in WORKLOADS} == {"fp32"}
    assert describe("cpu", WORKLOADS).endswith("(this cpu has no bf16 instructions)")
    assert asked == []


def test_the_speed_up_is_measured_where_there_are_instructions(measured, monkeypatch):
    asked = measured(0.25)
    assert bf16_speed_up("answering") == 4
    monkeypatch.setattr(precision, "has_bf16", lambda device_type: False)
    assert bf16_speed_up("embedding") == 1 and asked == ["answering"]


def test_a_requested_precision_is_not_measured(measured):
    asked = measured(0.1)
    assert (
        choose("training", "cpu", "fp32") == "fp32" and choose("training", "cpu", "bf16") == "bf16"
    )
    assert asked == []


@pytest.mark.parametrize(("native", "taken"), [(True, "bf16"), (False, "fp32")])
def test_on_cuda_the_capability_decides(measured, monkeypatch, native, taken):
    asked = measured(2.0)
    monkeypatch.setattr(precision, "has_bf16", lambda device_type: native)
    assert choose("answering", "cuda") == taken and asked == []


def test_bf16_instructions_are_the_processor_s(monkeypatch):
    for capabilities in ({"avx512_bf16": True}, {"bf16": True}, {"avx512_f": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities.copy, raising=False)
        assert has_bf16.__wrapped__("cpu") == any("bf16" in name for name in capabilities)
    assert not has_bf16.__wrapped__("mps")


def test_fixed_choices_win_within_their_block_and_override_for_good(measured):
    measured(0.5)
    with fixed({"cpu": {"training": "fp32", "answering": "bf16"}}):
        assert choose("training", "cpu") == "fp32" == choose("training", "cpu", "bf16")
        assert choose("answering", "cpu", "fp32") == "bf16" == choose("embedding", "cpu")
        with fixed({"cpu": {"training": "bf16"}}):
            assert choose("training", "cpu") == "bf16" == choose("answering", "cpu", "fp32")
    assert choose("training", "cpu") == "bf16" and choose("answering", "cpu", "fp32") == "fp32"
    override("auto")
    assert choose("training", "cpu") == "bf16"
    override("fp32")
    assert {choose(work, kind) for work in WORKLOADS for kind in ("cpu", "cuda")} == {"fp32"}


def test_the_line_says_why(measured):
    measured({"training": 0.5, "answering": 1.84})
    assert describe("cpu", ("training", "answering")) == (
        "training bf16, answering fp32 (measured: bf16 takes 0.50, 1.84 of float32's time; "
        "--precision overrides)"
    )
    assert describe("cpu", ("training",), "fp32") == "training fp32 (as asked for)"
    with fixed({"cpu": {"training": "fp32"}}):
        around = "training fp32 (as in the training around it)"
        assert describe("cpu", ("training",)) == around == describe("cpu", ("training",), "bf16")
    override("bf16")
    assert describe("cpu", ("training",), "fp32") == "training bf16 (as asked for)"


def test_float32_work_inside_bf16_work_stays_float32(measured):
    measured({"training": 0.5, "embedding": 2.0})
    with autocast(CPU, "training"), autocast(CPU, "embedding"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("work", WORKLOADS)
def test_a_measurement_leaves_no_trace(work):
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.inference_mode():  # as the first query of a process measures
        timing = measure(work)
    assert timing.fp32 > 0 and timing.bf16 > 0
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


def test_threads_come_back_when_a_measurement_fails(monkeypatch):
    def fail():
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(precision, "_RUNS", {"training": fail})
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no such kernel"):
            measure("training")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_the_best_round_counts(monkeypatch):
    seconds = iter(range(10_000))
    taken = []

    def run(each):
        taken.append(each)
        if each == "bf16" and len(taken) % 8:  # disturbed in all rounds but some
            for _ in range(5):
                next(seconds)

    monkeypatch.setattr(precision, "CLOCK", lambda: next(seconds))
    assert precision._by_turns(run) == Timing(fp32=1, bf16=1)
    assert taken[:4] == ["fp32", "bf16"] * 2


def test_embedding_takes_the_precision_of_its_kind_of_work(tiny_encoder, measured):
    texts = ["copy file", "how do i delete a folder or a disk?", "", "watch"]
    encoder = TextEncoder.pretrained(str(tiny_encoder), length=12)
    measured({"embedding": 0.5, "answering": 2.0})
    rough, exact = (
        encoder.embed(texts, "document"),
        encoder.embed(texts, "document", work="answering"),
    )
    assert rough.dtype == exact.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_on_cuda_attention_is_left_to_kernels_that_plan_nothing():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with autocast(torch.device("cuda"), "answering", "bf16"):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
