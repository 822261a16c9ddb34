"""Training loop for any recipe, on one process or many (accelerate)."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from random import Random
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from genir.config import StageConfig
from genir.errors import InputError
from genir.models.base import Batch
from genir.models.precision import autocast
from genir.plurals import counted
from genir.retriever import Retriever
from genir.tasks.base import TrainQueries
from genir.tasks.registry import build_mixture
from genir.training.batches import Batcher, known_answers
from genir.training.checkpoints import Progress, WorkFolder
from genir.training.dev_eval import evaluate_dev
from genir.training.dev_split import DevSplit, given_vectors_note
from genir.training.losses.base import LossContext
from genir.training.losses.registry import Losses, needs_answers, require_text_loss
from genir.training.multi_target_checks import require_separator
from genir.training.optimization import (
    WeightAverage,
    build_optimizer,
    build_schedule,
    enable_gradient_checkpointing,
)
from genir.training.progress_display import Display, log
from genir.training.stop_request import StopRequest, stop_request
from genir.types import Example

Choice = Callable[[int, list[Example]], list[Example]]
StepCallback = Callable[[int, torch.Tensor], None]
"""Called after a step with its number from 1 and its loss, a scalar on the training device."""

SYNC_EVERY_STEPS = 10
"""Steps between synchronisations of the stop and checkpoint flags of all processes."""


class Trainer:
    """Trains a retriever in place and keeps the weights with the best dev score.

    Args:
        choose: Selects the examples to train on from an epoch's number and examples.
        trained_before: Whether the retriever is trained: it keeps settings that were chosen for it.
        on_step: Called in order after each step, before its evaluation and its checkpoint. An
            exception ends the training, which resumes from the last checkpoint.
    """

    def __init__(
        self,
        retriever: Retriever,
        split: DevSplit,
        work: WorkFolder,
        choose: Choice | None = None,
        trained_before: bool = False,
        on_step: Sequence[StepCallback] = (),
    ) -> None:
        self.retriever = retriever
        self.split = split
        self.work = work
        self.choose = choose
        self.trained_before = trained_before
        self.on_step = on_step
        self.settings = retriever.recipe.training
        require_separator(retriever.recipe, retriever.model)
        # A recipe may leave parameters of the network unused.
        options = DistributedDataParallelKwargs(
            find_unused_parameters=True, broadcast_buffers=False
        )
        # This loop sets its own precision: accelerate's applies to the whole process, and a
        # parent recipe may differ.
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[options])
        torch.manual_seed(self.settings.seed)
        self.mixture = build_mixture(retriever.recipe.tasks, self.settings.seed)
        for task, _ in self.mixture.tasks:
            task.leave_out(split.questions)
        lists = needs_answers(retriever.recipe)
        self.batcher = Batcher(
            retriever.model,
            retriever.table,
            self.settings.batch_size,
            (self.settings.source_length, self.settings.target_length),
            known_answers(split.train, retriever.table) if lists else None,
        )
        self._prepare()
        # The main process embeds documents for a teacher; the others read the cached vectors.
        with self.accelerator.main_process_first():
            self.losses = Losses(LossContext(retriever, work.prepared, work.path, self.first_epoch))

    def _prepare(self) -> None:
        """Compute the number of steps and prepare model and optimizer with accelerate."""
        self.first_epoch = self._examples(0)
        if self.mixture.idle:
            shown = self.accelerator.is_main_process
            log(f"tasks without an example in this corpus: {', '.join(self.mixture.idle)}", shown)
        shared = self.settings.batch_size * self.accelerator.num_processes
        shared *= self.settings.gradient_accumulation_steps
        wanted = math.ceil(len(self.first_epoch) * self.settings.epochs / shared)
        self.total = 0 if self._skips() else min(wanted, self.settings.max_steps or wanted)
        set_dropout(self.retriever.model, self.settings.dropout)
        if self.settings.gradient_checkpointing:
            enable_gradient_checkpointing(self.retriever.model)
        optimizer = build_optimizer(self.settings, self._groups())
        self.schedule = build_schedule(self.settings, optimizer, self.total)
        self.model, self.optimizer = self.accelerator.prepare(self.retriever.model, optimizer)
        self.retriever.to(self.accelerator.device)
        self.average = None
        if self.settings.ema_decay:
            self.average = WeightAverage(self.retriever.model, self.settings.ema_decay)

    def _skips(self) -> bool:
        """Return whether there is nothing to train, or only on queries, and there are none."""
        if not self.retriever.model.is_trainable:
            log(given_vectors_note(self.split), self.accelerator.is_main_process)
            return True
        if not skips_training(self.retriever.recipe, self.split.train):
            return False
        log(
            "no train queries: the model keeps its initial weights, which answer queries better "
            "than weights trained on the documents alone (training.without_queries = 'skip')",
            self.accelerator.is_main_process,
        )
        return True

    def _examples(self, epoch: int) -> list[Example]:
        examples = self.mixture.epoch(
            epoch, self.retriever.documents, self.retriever.table, self.split.train
        )
        if any(isinstance(e.target, str) for e in examples):
            self._refuse_text()
        return examples if self.choose is None else self.choose(epoch, examples)

    def _refuse_text(self) -> None:
        """Raise InputError if the model or the losses do not support text targets."""
        if not self.retriever.model.generates_text:
            raise InputError(
                f"[[tasks]]: a {self.retriever.model.kind!r} model cannot generate text, which is "
                "a task's target; take target = 'identifier', or [model] kind = 'seq2seq'"
            )
        require_text_loss(self.retriever.recipe)
        self.retriever.model.check_target_length(
            self.settings.target_length, "[training] target_length"
        )

    def _groups(self) -> list[dict[str, Any]]:
        head = self.retriever.model.head_parameters()
        new = {id(parameter) for parameter in head}
        known = [p for p in self.retriever.model.parameters() if id(p) not in new]
        groups = [
            {"params": known, "lr": self.settings.learning_rate,
             "weight_decay": self.settings.weight_decay},
            {"params": head, "lr": self.settings.head_learning_rate, "weight_decay": 0.0},
        ]  # fmt: skip
        return [group for group in groups if group["params"]]

    # --- the loop ------------------------------------------------------------------------------

    def run(self) -> Progress:
        """Train to the last step, from the last checkpoint if there is one.

        Raises:
            InputError: the loss is not finite.
            Stopped: on Ctrl-C or SIGTERM.
        """
        progress = self.work.load(self.accelerator, self.average)
        if progress.step:
            self.schedule.load_state_dict(progress.schedule)
        display = Display(self.total, progress.step, self.accelerator.is_main_process)
        with stop_request() as request, display.bar:
            self._steps(progress, request, display)
        return progress

    def _steps(self, progress: Progress, request: StopRequest, display: Display) -> None:
        earlier, began = progress.seconds, time.monotonic()
        saved = began
        self.model.train()  # once: evaluation restores the mode
        if not progress.history:
            self._measure(progress, math.nan, display)
            if self.total and not self.trained_before:
                self.retriever.model.begin_training()
        count = self.settings.gradient_accumulation_steps
        batches = self._batches(progress.step * count)
        for _ in range(progress.step, self.total):
            self.losses.set_progress(progress.step / self.total)
            loss = self._step(list(islice(batches, count)))
            progress.step += 1
            progress.seconds = earlier + time.monotonic() - began
            for callback in (display.advance, *self.on_step):
                callback(progress.step, loss)
            if self._should_evaluate(progress.step):
                self._measure(progress, self._require_finite(loss, progress.step), display)
            last = progress.step == self.total
            stop, old = self._sync_decision(progress.step, request.is_set, time.monotonic() - saved)
            if last or stop or old:
                self._require_finite(loss, progress.step)
                progress.schedule = self.schedule.state_dict()
                self.work.save(self.accelerator, progress, self.average)
                saved = time.monotonic()
            if stop:
                raise request.error()

    def _batches(self, skip: int) -> Iterator[Batch]:
        """Yield this process's batches from batch `skip` on, over all epochs."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        epoch, examples = 0, self.first_epoch
        while True:
            # Only complete rounds: every process must take the same number of steps.
            rounds = self.batcher.count(examples) // world
            if not rounds:
                raise InputError(
                    f"{counted(len(examples), 'example is', 'examples are')} too few for "
                    f"{counted(world, 'process', 'processes')} of "
                    f"training.batch_size = {self.settings.batch_size}; lower it"
                )
            if skip < rounds:
                rng = Random(f"batches {self.settings.seed} {epoch}")
                batches = self.batcher.batches(examples, rng, skip * world)
                for place, batch in zip(range((rounds - skip) * world), batches, strict=False):
                    if place % world == rank:
                        yield batch
            skip = max(0, skip - rounds)
            epoch += 1
            examples = self._examples(epoch)

    def _step(self, batches: Sequence[Batch]) -> torch.Tensor:
        """Take a step on the mean loss of some batches, and return that."""
        losses = []
        for place, batch in enumerate(batches, start=1):
            batch = batch.to(self.accelerator.device)
            # Processes exchange the sum of the gradients once a step.
            alone = place < len(batches)
            with self.accelerator.no_sync(self.model) if alone else nullcontext():
                with autocast(batch.rows.device, "training", self.settings.precision):
                    loss = self.model(batch, self.losses) / len(batches)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        if self.settings.max_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        return torch.stack(losses).sum()

    def _require_finite(self, loss: torch.Tensor, step: int) -> float:
        """Return the loss. Raises InputError unless loss and weights are finite."""
        value = float(loss)
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}", step)
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise self._diverged("some weights are not finite", step)
        return value

    def _diverged(self, problem: str, step: int) -> InputError:
        kept = self.work.checkpoint
        return InputError(
            f"{problem} at step {step}; lower training.learning_rate or "
            "training.head_learning_rate, and start again with --overwrite"
            + (f". The last good checkpoint is in {kept}" if kept.is_dir() else "")
        )

    def _should_evaluate(self, step: int) -> bool:
        """Return whether to measure dev: at regular intervals, and once early."""
        every = max(1, self.total // self.settings.num_dev_evals)
        return step % every == 0 or step == max(1, every // 4) or step == self.total

    def _measure(self, progress: Progress, loss: float, display: Display) -> None:
        display.note("measuring dev")
        with nullcontext() if self.average is None else self.average.applied():
            self._measure_weights(progress, loss)
        display.show_dev_metrics(progress.history[-1])

    def _measure_weights(self, progress: Progress, loss: float) -> None:
        """Measure the present weights on dev, and keep them if they are the best."""
        try:
            figures = evaluate_dev(self.retriever, self.split.questions, self.accelerator)
        except InputError:
            raise self._diverged("some scores are not finite", progress.step) from None
        progress.history.append(
            {"step": progress.step, "seconds": round(progress.seconds, 1),
             "loss": None if math.isnan(loss) else round(loss, 4), **figures}
        )  # fmt: skip
        # On a tie the later weights are kept: they were trained longer, e.g. without dev queries.
        quality = figures["RR@10"] or 0.0
        if self.accelerator.is_main_process and quality >= progress.best:
            self.work.keep_best(self.retriever.model)
        progress.best = max(progress.best, quality)

    def _sync_decision(self, step: int, stop: bool, age: float) -> tuple[bool, bool]:
        """Return (stop, checkpoint is due), with the same result in every process."""
        wishes = [stop, age > self.settings.checkpoint_seconds]
        if self.accelerator.num_processes > 1:
            if step % SYNC_EVERY_STEPS:
                return False, False
            flags = torch.tensor(wishes, dtype=torch.int64, device=self.accelerator.device)
            wishes = (self.accelerator.reduce(flags, "sum") > 0).tolist()
        return bool(wishes[0]), bool(wishes[1])


def skips_training(recipe: StageConfig, queries: TrainQueries) -> bool:
    """Return whether a recipe is not trained without queries, and there are none."""
    if recipe.training.without_queries == "train" or queries:
        return False
    tasks = build_mixture(recipe.tasks, recipe.training.seed).tasks
    return not any(task.own_queries() for task, _ in tasks)


_DROPOUT_ATTRIBUTES = ("dropout", "attention_dropout", "activation_dropout")
"""Attributes of transformers modules with functional dropout probabilities."""


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Set the dropout probability of all modules."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        for name in _DROPOUT_ATTRIBUTES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)
