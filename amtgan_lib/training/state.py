"""What a run changes and what it looks at: networks, optimizers and the constant parts, for a step to work with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from amtgan_lib import compute, losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.losses import Perceptual
from amtgan_lib.models import Discriminator, Regularizer
from amtgan_lib.models.regularizer import recomputed
from amtgan_lib.recipes import recipe
from amtgan_lib.recognizers import Recognizer, embed_many
from amtgan_lib.training import distributed, origin
from amtgan_lib.training.config import TrainConfig, build_generator

# A network is compiled anew with and without gradient, for a face in its own makeup and in another's, and for each new
# padding; after 8 times torch would give up by default.
COMPILATIONS = 64


class State:
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
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []  # of every step: {step, seconds, term: value}
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
        self.nearest: np.ndarray | None = None  # per source the positions of the references of the most similar skin
        if config.compile_mode != "off":
            torch._dynamo.config.cache_size_limit = COMPILATIONS
            for network in self.networks.values():
                network.compile(mode=config.compile_mode)

    def _embedded(self, target: FaceBatch) -> list[Tensor]:
        """Per recogniser the embeddings (P, D) of the P faces of ``target``."""
        if len(target) != 1 and not (self.recipe.any_target and len(target)):
            expected = "at least one target" if self.recipe.any_target else "one target"
            raise ValueError(f"the recipe {self.config.recipe!r} trains for {expected}, got {len(target)} faces")
        target = target.to(self.device)
        return [embed_many(recognizer, target.image, self.points(target)) for recognizer in self.recognizers]

    @property
    def target(self) -> list[Tensor]:
        """Per recogniser the embedding (D,) of the one target."""
        return [vectors[0] for vectors in self.targets]

    def _build(self) -> dict[str, nn.Module]:
        config = self.config
        networks = {"generator": build_generator(config)}
        if self.recipe.output == "eyes":
            # One stride for the few pixels of an eye area.
            networks["discriminator_makeup"] = Discriminator(config.discriminator_width, layers=1)
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
