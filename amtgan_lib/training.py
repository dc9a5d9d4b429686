"""Training one generator: the D, G and H steps of the paper, or the residual recipe's single step.

Everything that decides a run stands in :class:`TrainConfig`; a checkpoint carries the whole state, and the data and
noise of step n depend on the seed and n alone, so a resumed run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch, FaceSet
from amtgan_lib.losses import InputDiversity, Perceptual
from amtgan_lib.models import Discriminator, Generator, Regularizer, save_generator
from amtgan_lib.recipes import Recipe, recipe
from amtgan_lib.recognizers import Recognizer

NOISY = InputDiversity()
# For recognisers that see aligned faces: little noise (the published 0.3 of the range drowns a bounded change), but
# what two systems really differ in. Without it a generator fits its few training recognisers instead of faces: at 200
# steps unseen EdgeFaces accepted 0.7 of the test photos without and 0.8 with it, at the same SSIM (trial, n = 48).
ALIGNED = InputDiversity(noise_scale=0.02, resize_probability=0, flip_probability=0.5, exposure=0.3, jitter=0.012)


@dataclass(frozen=True)
class TrainConfig:
    """One run. The defaults are the paper's size; presets name what differs."""

    recipe: str = "corrected"
    recognizers: tuple[str, ...] = ()  # those that are trained against
    size: int = 256
    width: int = 64
    bottlenecks: int = 6
    regularizer_blocks: int = 4
    regularizer_width: int = 64
    discriminator_width: int = 64
    bound: float = 0.25  # residual output: largest change, in [-1,1] units (32 of 255 levels)
    batch: int = 1
    steps: int = 13_595  # 5 epochs of 2719 unpaired picks
    views: int = 5  # random views a step and recogniser
    learning_rate: float = 2e-4
    decay_from: float = 1.0  # share of the steps after which the rate falls linearly to 2 %; 1, never, is published
    seed: int = 0
    attack: float = 1.0  # factor on the generator's adversarial and dodging weights
    bf16: bool = False
    device: str = "cpu"

    def __post_init__(self):
        recipe(self.recipe)
        if isinstance(self.recognizers, str) or not self.recognizers:
            raise ValueError(f"recognizers is {self.recognizers!r}; expected the names of those to train against")
        object.__setattr__(self, "recognizers", tuple(self.recognizers))  # JSON has lists only


@dataclass
class History:
    """Named losses of every step: ``rows`` of {step, seconds, term: value}."""

    rows: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Networks, optimizers and the constant parts of a run.

    target is the face whose identity is impersonated (a batch of one); recognizers are frozen.
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
        self.weights = replace(own, adversarial=config.attack * own.adversarial, dodging=config.attack * own.dodging)
        self.step, self.seconds, self.history = 0, 0.0, History()
        self.device = torch.device(config.device)
        self.recognizers = [recognizer.to(self.device) for recognizer in recognizers]
        self.perceptual = None if perceptual is None else perceptual.to(self.device)
        torch.manual_seed(config.seed)
        self.networks = nn.ModuleDict(self._build()).to(self.device, memory_format=torch.channels_last)
        self.optimizers = {name: self._optimizer(name) for name in self.networks}
        target = target.to(self.device)
        with torch.no_grad():
            self.target = [embedding[0] for embedding in self._embeddings(target)]

    def _build(self) -> dict[str, nn.Module]:
        config = self.config
        networks = {"generator": build_generator(config)}
        if self.recipe.adversaries:
            blocks, width = config.regularizer_blocks, config.regularizer_width
            networks["regularizer"] = Regularizer(blocks, width, width // 2)
            networks["discriminator_makeup"] = Discriminator(config.discriminator_width)
            networks["discriminator_plain"] = Discriminator(config.discriminator_width)
        return networks

    def _optimizer(self, name: str) -> torch.optim.Adam:
        rate = self.config.learning_rate
        return torch.optim.Adam(self.networks[name].parameters(), rate, betas=(0.5, 0.999), fused=True)

    # ------------------------------------------------------------ one step

    def train_step(self, source: FaceBatch, reference: FaceBatch) -> dict[str, float]:
        """One step on a batch of sources and as many references; returns the named losses."""
        started = time.perf_counter()
        source, reference = source.to(self.device), reference.to(self.device)
        self._set_rate()
        step = self._paper_step if self.recipe.adversaries else self._residual_step
        terms = step(source, reference, torch.Generator().manual_seed(self._seed("noise")))
        self.step += 1
        # One read-back for all terms: each .item() would wait for the device.
        values = torch.stack([value.detach().float() for value in terms.values()]).tolist()
        self.seconds += time.perf_counter() - started
        named = dict(zip(terms, values))
        self.history.rows.append({"step": self.step, "seconds": self.seconds, **named})
        return named

    def _set_rate(self) -> None:
        total, start = self.config.steps, self.config.decay_from * self.config.steps
        factor = 1.0 if self.step < start else max(1 - (self.step - start) / max(total - start, 1), 0.02)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * factor

    def _seed(self, purpose: str) -> int:
        return (self.config.seed * 1_000_003 + self.step) * 2 + (purpose == "data")

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _generate(self, a: FaceBatch, b: FaceBatch, image: Tensor | None = None) -> Tensor:
        """G(a, b), the face of ``a`` in the makeup of ``b``; ``image`` replaces a's pixels."""
        source = a.image if image is None else image
        sides = (a.masks, b.masks, a.landmarks, b.landmarks)
        return self.networks["generator"](source, b.image, *sides).float()

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        parameters = list(self.networks[name].parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)):
            parameter.grad = gradient
        optimizer.step()

    def _points(self, face: FaceBatch) -> Tensor | None:
        return None if self.recipe.unaligned_recognizers else face.points

    def _embeddings(self, face: FaceBatch) -> list[Tensor]:
        return [recognizer.embed(face.image, self._points(face)) for recognizer in self.recognizers]

    def _attack(self, images: Tensor, face: FaceBatch, noise: torch.Generator) -> Tensor:
        return losses.adversarial_loss(
            images, self.target, self.recognizers, self.config.views, NOISY, self._points(face), noise
        )

    def _makeup(self, image: Tensor, own: FaceBatch, other: FaceBatch) -> Tensor:
        weights = self.recipe.weights.regions
        if self.recipe.makeup_loss_as_shipped:
            region_loss = losses.histogram_loss_as_shipped
        else:
            region_loss = partial(losses.histogram_loss, match=own.image if self.recipe.match_source else None)
        return losses.makeup_loss(image, other.image, own.masks, other.masks, weights, region_loss)

    # ------------------------------------------------------------ residual recipe

    def _residual_step(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        weights = self.weights
        with torch.no_grad(), self._autocast():
            own = self._embeddings(source)
            start = self.networks["generator"].start(
                source.image, reference.image, source.masks, reference.masks, source.landmarks, reference.landmarks
            )
        with self._autocast():
            image = self._generate(source, reference)
            attack, dodge = losses.attack_losses(
                image, self.target, own, self.recognizers, self.config.views, ALIGNED, self._points(source), noise
            )
        similarity = (image - start).abs().mean() + 1 - losses.ssim(image, start).mean()
        makeup = self._makeup(image, source, reference)
        total = weights.adversarial * attack + weights.dodging * dodge
        total = total + weights.similarity * similarity + weights.makeup * makeup
        self._update("generator", total)
        return {"total": total, "adversarial": attack, "dodging": dodge, "similarity": similarity, "makeup": makeup}

    # ------------------------------------------------------------ the paper's step

    def _paper_step(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """D_A, D_B, G (its gradient passes through H), then H, in the order of the released loop."""
        with self._autocast():
            # The discriminators judge the very fakes that G's step goes on with: the weights do not move in between.
            fake, back = self._generate(source, reference), self._generate(reference, source)
        # Blocks of their own: until its block ends, autocast goes on using a weight's cast from before an update.
        with self._autocast():
            terms = self._discriminator_steps(source, reference, fake.detach(), back.detach())
        with self._autocast():
            total, named = self._generator_terms(source, reference, fake, back, noise)
        self._update("generator", total)
        with self._autocast():
            purified, named_h = self._regularizer_terms(source, reference)
        self._update("regularizer", purified)
        return {"total": total, **terms, **named, **named_h}

    def _discriminator_steps(
        self, source: FaceBatch, reference: FaceBatch, fake: Tensor, back: Tensor
    ) -> dict[str, Tensor]:
        terms = {}
        pairs = {"discriminator_makeup": (reference.image, fake), "discriminator_plain": (source.image, back)}
        for name, (real, drawn) in pairs.items():
            network = self.networks[name]
            terms[name] = losses.lsgan_discriminator_loss(network(real), network(drawn))
            self._update(name, terms[name])
        return terms

    def _judged(self, fake: Tensor, back: Tensor) -> Tensor:
        scores = self.networks["discriminator_makeup"](fake), self.networks["discriminator_plain"](back)
        return 0.5 * sum(losses.lsgan_generator_loss(score) for score in scores)

    def _made_up(self, fake: Tensor, back: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        return 0.5 * (self._makeup(fake, source, reference) + self._makeup(back, reference, source))

    def _cycle(self, pure_fake: Tensor, pure_back: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        """Regularized cycle: H(G(H(G(x,y)), x)) vs x, and the same for y."""
        regularizer = self.networks["regularizer"]
        source_again = regularizer(self._generate(source, source, pure_fake))
        reference_again = regularizer(self._generate(reference, reference, pure_back))
        first = losses.cycle_loss(source_again, source.image)
        return 0.5 * (first + losses.cycle_loss(reference_again, reference.image))

    def _generator_terms(
        self, source: FaceBatch, reference: FaceBatch, fake: Tensor, back: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights, regularizer = self.weights, self.networks["regularizer"]
        same = [self._generate(face, face) for face in (source, reference)]
        named = {
            "gan": self._judged(fake, back),
            "cycle": self._cycle(regularizer(fake), regularizer(back), source, reference),
            "makeup": self._made_up(fake, back, source, reference),
            "identity": self._identity(same, (fake, back), (source, reference)),
            "adversarial": 0.5 * (self._attack(fake, source, noise) + self._attack(back, reference, noise)),
        }
        return sum(getattr(weights, name) * value for name, value in named.items()), named

    def _identity(self, same: Sequence[Tensor], crossed: Sequence[Tensor], faces: Sequence[FaceBatch]) -> Tensor:
        """Faces drawn in their own makeup (``same``) stay as they are; as released, those in the other's do, too."""
        total = sum(losses.identity_loss(image, face.image, self.perceptual) for image, face in zip(same, faces))
        if self.recipe.perceptual_to_source:
            total = total + sum(self.perceptual(image, face.image) for image, face in zip(crossed, faces))
        return 0.5 * total

    def _regularizer_terms(self, source: FaceBatch, reference: FaceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        weights, regularizer = self.recipe.weights, self.networks["regularizer"]
        pairs = (source, reference), (reference, source), (source, source), (reference, reference)
        with torch.no_grad():
            # Drawn again, as released: G has moved since its own step.
            drawn = [self._generate(*pair) for pair in pairs]
        pure_fake, pure_back, *same = (regularizer(image) for image in drawn)
        named = {
            "h_gan": self._judged(pure_fake, pure_back),
            "h_cycle": self._cycle(pure_fake, pure_back, source, reference),
            "h_makeup": self._made_up(pure_fake, pure_back, source, reference),
            "h_identity": self._identity(same, (pure_fake, pure_back), (source, reference)),
            "h_adversarial": 0.5 * (self._give_back(pure_fake, source) + self._give_back(pure_back, reference)),
        }
        return sum(getattr(weights, name[2:]) * value for name, value in named.items()), named

    def _give_back(self, images: Tensor, face: FaceBatch) -> Tensor:
        """H is to give the source identity back: 1 - cos(f(H(G(.))), f(x))."""
        with torch.no_grad():
            own = self._embeddings(face)
        points = self._points(face)
        return losses.adversarial_loss(images, own, self.recognizers, views=1, diversity=None, points=points)

    # ------------------------------------------------------------ state

    def picks(self, sources: int, references: int) -> tuple[list[int], list[int]]:
        """The items of this step: unpaired, decided by the seed and the step alone."""
        draw = torch.Generator().manual_seed(self._seed("data"))
        chosen = (torch.randint(count, (self.config.batch,), generator=draw) for count in (sources, references))
        first, second = (index.tolist() for index in chosen)
        return first, second

    def save(self, path: Path) -> None:
        """The whole state under ``path``, moved into place when complete."""
        state = {
            "config": json.dumps(asdict(self.config)),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.rows,
            "networks": self.networks.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.partial")
        try:
            torch.save(state, unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same configuration (the number of steps and the device may differ)."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        saved, ours = json.loads(state["config"]), json.loads(json.dumps(asdict(self.config)))
        different = [key for key in ours if key not in ("steps", "device") and saved.get(key) != ours[key]]
        if different:
            listed = ", ".join(f"{key} {saved.get(key)!r} there, {ours[key]!r} here" for key in different)
            raise ValueError(f"{path} belongs to another run: {listed}")
        self.step, self.seconds, self.history.rows = state["step"], state["seconds"], state["history"]
        self.networks.load_state_dict(state["networks"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def build_generator(config: TrainConfig) -> Generator:
    """The generator of a configuration, freshly initialised."""
    output = recipe(config.recipe).output
    return Generator(config.width, config.bottlenecks, output=output, bound=config.bound)


def train(
    trainer: Trainer,
    sources: FaceSet,
    references: FaceSet,
    *,
    checkpoint: Path | None = None,
    every: int = 100,
    resume_from: Path | None = None,
    progress: Callable[[Iterator[int]], Iterator[int]] | None = None,
) -> Trainer:
    """Train until ``config.steps``; saves to ``checkpoint`` every so many steps, at the end and when interrupted.

    Nothing is resumed unless ``resume_from`` names it. A step that an interrupt cut short is done again on resuming.
    """
    if resume_from is not None:
        trainer.resume(resume_from)
    bar = _progress_bar(trainer) if progress is None else progress(iter(range(trainer.step, trainer.config.steps)))
    try:
        for _ in bar:
            first, second = trainer.picks(len(sources), len(references))
            terms = trainer.train_step(sources.batch(first), references.batch(second))
            if not all(map(_finite, terms.values())):
                raise FloatingPointError(f"step {trainer.step}: a loss is not finite: {terms}")
            if hasattr(bar, "set_postfix"):
                bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()})
            if checkpoint is not None and trainer.step % every == 0:
                trainer.save(checkpoint)
    except Exception:
        checkpoint = None  # the weights may be what is wrong: the last checkpoint stays as it is
        raise
    finally:
        if checkpoint is not None:
            trainer.save(checkpoint)
    return trainer


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _progress_bar(trainer: Trainer):
    from tqdm.auto import tqdm

    steps = range(trainer.step, trainer.config.steps)
    return tqdm(steps, initial=trainer.step, total=trainer.config.steps, desc=trainer.config.recipe, mininterval=1)


def export(trainer: Trainer, path: Path, **facts: str | int | float) -> Path:
    """The generator alone, as safetensors with its configuration: what protection needs (``load_generator``)."""
    config = trainer.config
    known = {"recipe": config.recipe, "size": config.size, "steps": trainer.step, "config": asdict(config)}
    known["recognizers"] = list(config.recognizers)
    return save_generator(trainer.networks["generator"], path, {**known, **facts})


__all__ = ["History", "Recipe", "TrainConfig", "Trainer", "build_generator", "export", "train"]
