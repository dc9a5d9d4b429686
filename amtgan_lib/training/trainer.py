"""A training run: its networks, optimizers, constant parts and checkpoints.

Everything that decides a run stands in :class:`TrainConfig`; a checkpoint carries the whole state, and the data and
noise of step n depend on the seed and n alone, so a resumed run continues as if it had not been interrupted. In an open
process group (``distributed.process_group``) each process takes its part of the batch; nothing else changes.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from amtgan_lib import interrupts
from amtgan_lib.datasets import FaceBatch, FaceSet, alike
from amtgan_lib.files import read_tensors, written
from amtgan_lib.models import region_counts, save_generator
from amtgan_lib.training import distributed, origin
from amtgan_lib.training.adv_makeup import AdvMakeupStep
from amtgan_lib.training.paper import PaperStep
from amtgan_lib.training.residual import ResidualStep
from amtgan_lib.training.state import State

FREE = ("steps", "device", "precision", "checkpointing", "compile_mode")  # what may change when a run is resumed
SECONDS = 180.0  # between two checkpoints at most, or the length of a step
# Regions are padded to multiples of so many positions where a step is not to wait for a device: shapes then repeat.
PADDING = 128
# Times the rate of G and H, where no other loss is in the way; and when it falls, see TrainConfig.decay_from. A warm-up
# at its full rate to the end leaves half as much loss again (0.10 beside 0.06).
WARM_UP_RATE, WARM_UP_DECAY = 6.0, 0.7


class TrainingError(Exception):
    """A training that cannot continue; one sentence names the settings that matter, and the last good checkpoint."""


class Trainer(State):
    """A run: what :class:`State` holds, its steps and its checkpoints."""

    @cached_property
    def run_step(self) -> PaperStep | ResidualStep | AdvMakeupStep:
        """The step of this run's recipe."""
        if self.recipe.output == "eyes":
            return AdvMakeupStep(self)
        return (PaperStep if self.recipe.adversaries else ResidualStep)(self)

    # ------------------------------------------------------------ one step

    def train_step(self, source: FaceBatch, reference: FaceBatch) -> dict[str, float]:
        """One step on a batch of sources and as many references; returns the named losses.

        In a process group the batch is this process's part, and the losses are those of the whole batch.
        """
        started = time.perf_counter()
        terms = self.launch(source, reference)
        # One read-back for all terms: each .item() would wait for the device.
        (values,) = distributed.averaged([torch.stack([value.detach().float() for value in terms.values()])])
        named = dict(zip(terms, values.tolist()))
        self.seconds += time.perf_counter() - started
        self.history.append({"step": self.step, "seconds": self.seconds, **named})
        return named

    def launch(self, source: FaceBatch, reference: FaceBatch) -> dict[str, Tensor]:
        """A step up to its losses, which are left on the device: batches on the CPU are sent, nothing is read back."""
        if self.device.type != "cpu" or self.config.compile_mode != "off":
            counts = torch.cat((region_counts(source.masks), region_counts(reference.masks))).amax(dim=0)
            padded = [-(-count // PADDING) * PADDING for count in counts.tolist()]
            self.budgets = list(map(max, padded, self.budgets or padded))
        source, reference = source.to(self.device), reference.to(self.device)
        self._set_rate()
        terms = self.run_step(source, reference, torch.Generator().manual_seed(self._seed("noise")))
        self.step += 1
        return terms

    @property
    def warm_up(self) -> int:
        """How many steps are its warm-up: none of a recipe without H."""
        return self.config.warm_up if self.recipe.adversaries else 0

    def _set_rate(self) -> None:
        warm_up = self.warm_up
        if self.step < warm_up:
            times, share = WARM_UP_RATE, _falling(self.step, warm_up, WARM_UP_DECAY)
        else:
            times, share = 1.0, _falling(self.step - warm_up, self.config.steps - warm_up, self.config.decay_from)
        if self.step == warm_up > 0:
            # Its gradients were small: with their squares, Adam's first steps on the whole loss would be far too long.
            self.optimizers = {name: self._optimizer(name) for name in self.networks}
        for name, optimizer in self.optimizers.items():
            own = self.config.discriminator_rate if name.startswith("discriminator") else times
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * share * own

    def _seed(self, purpose: str) -> int:
        return (self.config.seed * 1_000_003 + self.step) * 2 + (purpose == "data")

    # ------------------------------------------------------------ state

    def picks(self, sources: int, references: int) -> tuple[list[int], list[int]]:
        """The items of this step, of the whole batch: decided by the seed and the step alone.

        Unpaired, or with ``alike`` a reference of the nearest few of each source (``learn_from``).
        """
        draw = torch.Generator().manual_seed(self._seed("data"))
        counts = (sources, references if self.nearest is None else self.nearest.shape[1])
        first, second = (torch.randint(count, (self.config.batch,), generator=draw).tolist() for count in counts)
        if self.nearest is not None:
            second = self.nearest[first, second].tolist()
        return first, second

    def learn_from(self, sources: FaceSet, references: FaceSet) -> None:
        """Name the faces that the run is trained on, for its checkpoints; before ``resume``, which compares them."""
        self.origin |= origin.of_data(sources, references)
        if self.config.alike:
            self.nearest = alike(sources, references, self.config.alike)

    def save(self, path: Path) -> None:
        """The whole state under ``path``, moved into place when complete; the first process alone writes it.

        Raises OSError, which names the file, where there is no room for it or it may not be written.
        """
        if self.share.rank:
            return
        state = {
            "config": json.dumps(asdict(self.config)),
            "origin": self.origin,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "networks": self.networks.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        with written(path) as unfinished:
            try:
                torch.save(state, unfinished)
            except RuntimeError as error:  # what torch says of a full disk, without a name
                raise OSError(f"{path} cannot be written, perhaps the disk is full: {error}") from error

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same configuration (all but ``FREE``), made from the same (``origin``).

        ValueError for that of another run; training faces are compared once ``learn_from`` has named them. A
        checkpoint that was written before all but the configuration was stored is resumed under a warning.
        """
        state = read_tensors(path, self.device)
        saved, ours = json.loads(state["config"]), json.loads(json.dumps(asdict(self.config)))
        if "origin" not in state:
            said = "does not say its target, recognisers' weights and training faces, so they are not compared"
            warnings.warn(f"{path} is of an older version and {said}", stacklevel=2)
        known = state.get("origin", {})
        saved, ours = saved | known, ours | {name: value for name, value in self.origin.items() if name in known}
        different = [key for key in ours if key not in FREE and saved.get(key) != ours[key]]
        if different:
            listed = ", ".join(f"{key} {saved.get(key)!r} there, {ours[key]!r} here" for key in different)
            raise ValueError(f"{path} belongs to another run: {listed}")
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.networks.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def train(
    trainer: Trainer,
    sources: FaceSet,
    references: FaceSet,
    *,
    checkpoint: Path | None = None,
    every: int = 100,
    resume_from: Path | None = None,
    minutes: float | None = None,
    progress: Callable[[Iterator[int]], Iterator[int]] | None = None,
) -> Trainer:
    """Train until ``config.steps``; saves to ``checkpoint``, at the end and when interrupted, too.

    It is saved ``every`` so many steps, and at the first step after ``SECONDS`` without one. Nothing is resumed unless
    ``resume_from`` names it. An interrupt waits for the end of its step. A second one does not, nor does it save: some
    networks are ahead of others, and the last checkpoint stays as it is.
    ``minutes`` ends it sooner, at the first step after so many; GroupError in a group, whose clocks would differ.
    TrainingError where a loss is not finite or memory runs out; the last checkpoint stays as it is and is named.
    """
    if minutes is not None and trainer.share.size > 1:
        raise distributed.GroupError(f"{trainer.share.size} processes would stop at different steps: leave out minutes")
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    trainer.learn_from(sources, references)
    if resume_from is not None:
        trainer.resume(resume_from)
    distributed.check_same(trainer.step, list(trainer.networks.parameters()))
    bar = _progress_bar(trainer) if progress is None else progress(iter(range(trainer.step, trainer.config.steps)))
    whole, saved = True, time.monotonic()  # whole: no network is ahead of another
    try:
        for _ in bar:
            first, second = map(trainer.share.of, trainer.picks(len(sources), len(references)))
            batches = sources.batch(first), references.batch(second)
            with interrupts.held_back():
                whole = False
                terms = trainer.train_step(*batches)
                _check(terms)
                whole = True
            if hasattr(bar, "set_postfix"):
                bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()})
            if checkpoint is not None and (trainer.step % every == 0 or time.monotonic() - saved >= SECONDS):
                trainer.save(checkpoint)
                saved = time.monotonic()
            if time.monotonic() >= deadline:
                break
    except Exception as error:
        last, checkpoint = checkpoint, None  # the weights may be what is wrong: the last checkpoint stays as it is
        if reason := _reason(error, trainer):
            raise TrainingError(f"step {trainer.step}: {reason}; {_kept(last)}") from error
        raise
    finally:
        if checkpoint is not None and whole:
            trainer.save(checkpoint)
    return trainer


def _falling(step: int, steps: int, since: float) -> float:
    """A factor that is 1 until the share ``since`` of the steps, and then falls linearly to 2 %."""
    start = since * steps
    return 1.0 if step < start else max(1 - (step - start) / max(steps - start, 1), 0.02)


def _check(terms: dict[str, float]) -> None:
    if broken := {name: value for name, value in terms.items() if not math.isfinite(value)}:
        raise FloatingPointError(f"a loss is not finite: {broken}")


def _reason(error: Exception, trainer: Trainer) -> str:
    """What a user can do about an error of a step, "" where that is nothing."""
    if isinstance(error, FloatingPointError):
        return f"{error}; a smaller learning_rate or attack may help"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        config = trainer.config
        needs = f"batch {config.batch} at size {config.size} needs more memory than {trainer.device} has"
        return f"{needs}; a smaller batch, size or width takes less, and so does checkpointing"
    return ""


def _kept(checkpoint: Path | None) -> str:
    there = checkpoint is not None and checkpoint.is_file()
    return f"the last good state is {checkpoint}" if there else "no checkpoint was written before"


def _progress_bar(trainer: Trainer):
    from tqdm.auto import tqdm

    begin, end, quiet = trainer.step, trainer.config.steps, trainer.share.rank > 0
    return tqdm(range(begin, end), trainer.config.recipe, end, initial=begin, mininterval=1, disable=quiet)


def export(trainer: Trainer, path: Path, dtype: torch.dtype = torch.float32, **facts: str | int | float) -> Path:
    """The generator alone, as safetensors with its configuration: what protection needs (``load_generator``)."""
    config = trainer.config
    known = {"recipe": config.recipe, "size": config.size, "steps": trainer.step, "config": config.told()}
    known |= {"recognizers": list(config.recognizers), "precision": trainer.precision.name}
    return save_generator(trainer.networks["generator"], path, {**known, **facts}, dtype)
