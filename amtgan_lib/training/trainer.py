"""A training run: its networks, optimizers, constant parts and checkpoints.

Everything that decides a run stands in :class:`TrainConfig`; a checkpoint carries the whole state, and the data and
noise of step n depend on the seed and n alone, so a resumed run goes on as if it had not been interrupted. In an open
process group (``distributed.process_group``) each process takes its part of the batch; nothing else changes.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from amtgan_lib import compute, losses
from amtgan_lib.datasets import FaceBatch, FaceSet
from amtgan_lib.losses import Perceptual
from amtgan_lib.models import Discriminator, Regularizer, region_counts, save_generator
from amtgan_lib.models.regularizer import recomputed
from amtgan_lib.recipes import recipe
from amtgan_lib.recognizers import Recognizer, embed_many
from amtgan_lib.training import distributed, interrupts, origin
from amtgan_lib.training.config import TrainConfig, build_generator
from amtgan_lib.training.paper import PaperStep
from amtgan_lib.training.residual import ResidualStep

FREE = ("steps", "device", "precision", "checkpointing", "compile_mode")  # what may change when a run is resumed
# Regions are padded to multiples of so many positions where a step is not to wait for a device: shapes then repeat.
PADDING = 128
# A network is compiled anew with and without gradient, for a face in its own makeup and in another's, and for each new
# padding; after 8 times torch would give up by default.
COMPILATIONS = 64


@dataclass
class History:
    """Named losses of every step: ``rows`` of {step, seconds, term: value}."""

    rows: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Networks, optimizers and the constant parts of a run.

    target is the face whose identity is impersonated (a batch of one), or, where the recipe takes any target, the
    faces of many people from whom each step draws its targets; recognizers are frozen.
    """

    def __init__(
        self,
        config: TrainConfig,
        target: FaceBatch,
        recognizers: list[Recognizer],
        perceptual: Perceptual | None = None,
    ):
        self.config, self.recipe = config, recipe(config.recipe)
        if self.recipe.perceptual_to_source and perceptual is None:
            raise ValueError(f"the recipe {config.recipe!r} has a perceptual term: hand over a perceptual distance")
        own = self.recipe.weights
        self.share = distributed.share()
        self.share.of(range(config.batch))  # refuses a batch that cannot be shared evenly
        self.weights = replace(own, adversarial=config.attack * own.adversarial, dodging=config.attack * own.dodging)
        self.step, self.seconds, self.history = 0, 0.0, History()
        self.device = torch.device(config.device)
        self.precision = compute.precision(config.precision, config.device)
        self.recognizers = [recognizer.to(self.device) for recognizer in recognizers]
        self.perceptual = None if perceptual is None else perceptual.to(self.device)
        torch.manual_seed(config.seed)
        self.networks = nn.ModuleDict(self._build()).to(self.device, memory_format=torch.channels_last)
        self.optimizers = {name: self._optimizer(name) for name in self.networks}
        self.targets = self._embedded(target)
        self.origin = origin.of_judges(target, recognizers)
        if self.recipe.adversaries:  # the other recipes do not look at it
            self.origin["perceptual distance"] = "none" if perceptual is None else perceptual.name
        self.budgets: list[int] | None = None
        if config.compile_mode != "off":
            torch._dynamo.config.cache_size_limit = COMPILATIONS
            for network in self.networks.values():
                network.compile(mode=config.compile_mode)
        self.run_step = (PaperStep if self.recipe.adversaries else ResidualStep)(self)

    def _embedded(self, target: FaceBatch) -> list[Tensor]:
        """Per recogniser the embeddings (P, D) of the P faces of ``target``."""
        if len(target) != 1 and not (self.recipe.any_target and len(target)):
            expected = "at least one target" if self.recipe.any_target else "one target"
            raise ValueError(f"the recipe {self.config.recipe!r} trains for {expected}, got {len(target)} faces")
        target = target.to(self.device)
        return [embed_many(each, target.image, self.points(target)) for each in self.recognizers]

    @property
    def target(self) -> list[Tensor]:
        """Per recogniser the embedding (D,) of the one target."""
        return [vectors[0] for vectors in self.targets]

    def _build(self) -> dict[str, nn.Module]:
        config = self.config
        networks = {"generator": build_generator(config)}
        if self.recipe.adversaries:
            blocks, width = config.regularizer_blocks, config.regularizer_width
            networks["regularizer"] = Regularizer(blocks, width, width // 2)
            networks["regularizer"].checkpointing = config.checkpointing
            networks["discriminator_makeup"] = Discriminator(config.discriminator_width)
            networks["discriminator_plain"] = Discriminator(config.discriminator_width)
        return networks

    def _optimizer(self, name: str) -> torch.optim.Adam:
        rate = self.config.learning_rate
        return torch.optim.Adam(self.networks[name].parameters(), rate, betas=(0.5, 0.999), fused=True)

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
        self.history.rows.append({"step": self.step, "seconds": self.seconds, **named})
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

    def _set_rate(self) -> None:
        total, start = self.config.steps, self.config.decay_from * self.config.steps
        factor = 1.0 if self.step < start else max(1 - (self.step - start) / max(total - start, 1), 0.02)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * factor

    def _seed(self, purpose: str) -> int:
        return (self.config.seed * 1_000_003 + self.step) * 2 + (purpose == "data")

    # ------------------------------------------------------------ what both kinds of step are made of

    def autocast(self):
        """bfloat16 where this run computes in it."""
        return self.precision.autocast()

    def generate(self, a: FaceBatch, b: FaceBatch, image: Tensor | None = None, hints: Tensor | None = None) -> Tensor:
        """G(a, b), the face of ``a`` in the makeup of ``b``; ``image`` replaces a's pixels."""
        source, generator = a.image if image is None else image, self.networks["generator"]
        sides = (a.masks, b.masks, a.landmarks, b.landmarks)
        if self.config.checkpointing and torch.is_grad_enabled():
            generator = partial(recomputed, generator)
        return generator(source, b.image, *sides, hints, self.budgets).float()

    def update(self, name: str, loss: Tensor) -> None:
        """One step of a network's optimizer.

        The gradients are averaged here instead of by DistributedDataParallel: that works in hooks on the parameters,
        which `torch.autograd.grad` does not call, and `backward` would fill the gradients of all networks of a step.
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        parameters = list(self.networks[name].parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, distributed.averaged(gradients)):
            parameter.grad = gradient
        optimizer.step()

    def points(self, face: FaceBatch) -> Tensor | None:
        """What recognisers align the face by; None where the recipe shows them the whole picture."""
        return None if self.recipe.unaligned_recognizers else face.points

    def embeddings(self, face: FaceBatch) -> list[Tensor]:
        """Per recogniser (N, D)."""
        return [recognizer.embed(face.image, self.points(face)) for recognizer in self.recognizers]

    def makeup(self, image: Tensor, own: FaceBatch, other: FaceBatch) -> Tensor:
        """The histogram loss of ``image``, a picture of the face ``own``, against the makeup of ``other``."""
        weights = self.recipe.weights.regions
        if self.recipe.makeup_loss_as_shipped:
            region_loss = losses.histogram_loss_as_shipped
        else:
            region_loss = partial(losses.histogram_loss, match=own.image if self.recipe.match_source else None)
        return losses.makeup_loss(image, other.image, own.masks, other.masks, weights, region_loss)

    # ------------------------------------------------------------ state

    def picks(self, sources: int, references: int) -> tuple[list[int], list[int]]:
        """The items of this step, of the whole batch: unpaired, decided by the seed and the step alone."""
        draw = torch.Generator().manual_seed(self._seed("data"))
        chosen = (torch.randint(count, (self.config.batch,), generator=draw) for count in (sources, references))
        first, second = (index.tolist() for index in chosen)
        return first, second

    def learn_from(self, sources: FaceSet, references: FaceSet) -> None:
        """Name the faces that the run is trained on, for its checkpoints; before ``resume``, which compares them."""
        self.origin |= origin.of_data(sources, references)

    def save(self, path: Path) -> None:
        """The whole state under ``path``, moved into place when complete; the first process alone writes it."""
        if self.share.rank:
            return
        state = {
            "config": json.dumps(asdict(self.config)),
            "origin": self.origin,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.rows,
            "networks": self.networks.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            torch.save(state, unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same configuration (all but ``FREE``), made from the same (``origin``).

        ValueError for that of another run; training faces are compared once ``learn_from`` has named them. A
        checkpoint that was written before all but the configuration was stored is resumed under a warning.
        """
        state = torch.load(path, map_location=self.device, weights_only=True)
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
        self.step, self.seconds, self.history.rows = state["step"], state["seconds"], state["history"]
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
    """Train until ``config.steps``; saves to ``checkpoint`` every so many steps, at the end and when interrupted.

    Nothing is resumed unless ``resume_from`` names it. An interrupt waits for the end of its step. A second one does
    not, nor does it save: some networks are ahead of others, and the last checkpoint stays as it is.
    ``minutes`` ends it sooner, at the first step after so many; GroupError in a group, whose clocks would differ.
    """
    if minutes is not None and trainer.share.size > 1:
        raise distributed.GroupError(f"{trainer.share.size} processes would stop at different steps: leave out minutes")
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    trainer.learn_from(sources, references)
    if resume_from is not None:
        trainer.resume(resume_from)
    distributed.check_same(trainer.step, list(trainer.networks.parameters()))
    bar = _progress_bar(trainer) if progress is None else progress(iter(range(trainer.step, trainer.config.steps)))
    whole = True  # no network is ahead of another
    try:
        for _ in bar:
            first, second = map(trainer.share.of, trainer.picks(len(sources), len(references)))
            batches = sources.batch(first), references.batch(second)
            with interrupts.held_back():
                whole = False
                terms = trainer.train_step(*batches)
                if not all(map(_finite, terms.values())):
                    raise FloatingPointError(f"step {trainer.step}: a loss is not finite: {terms}")
                whole = True
            if hasattr(bar, "set_postfix"):
                bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()})
            if checkpoint is not None and trainer.step % every == 0:
                trainer.save(checkpoint)
            if time.monotonic() >= deadline:
                break
    except Exception:
        checkpoint = None  # the weights may be what is wrong: the last checkpoint stays as it is
        raise
    finally:
        if checkpoint is not None and whole:
            trainer.save(checkpoint)
    return trainer


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _progress_bar(trainer: Trainer):
    from tqdm.auto import tqdm

    steps = range(trainer.step, trainer.config.steps)
    return tqdm(
        steps,
        initial=trainer.step,
        total=trainer.config.steps,
        desc=trainer.config.recipe,
        mininterval=1,
        disable=bool(trainer.share.rank),
    )


def export(trainer: Trainer, path: Path, dtype: torch.dtype = torch.float32, **facts: str | int | float) -> Path:
    """The generator alone, as safetensors with its configuration: what protection needs (``load_generator``)."""
    config = trainer.config
    known = {"recipe": config.recipe, "size": config.size, "steps": trainer.step, "config": asdict(config)}
    known |= {"recognizers": list(config.recognizers), "precision": trainer.precision.name}
    return save_generator(trainer.networks["generator"], path, {**known, **facts}, dtype)
