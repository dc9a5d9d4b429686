"""The paper's step: discriminators, generator, regularization module, in the order of the released loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.training.config import NOISY

if TYPE_CHECKING:
    from amtgan_lib.training.trainer import Trainer


class PaperStep:
    """One step of the recipes ``published`` and ``corrected`` on the networks of a trainer."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def __call__(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """D_A, D_B, G (its gradient passes through H), then H, in the order of the released loop."""
        trainer = self.trainer
        with trainer.autocast():
            # The discriminators judge the very fakes that G's step goes on with: the weights do not move in between.
            fake, back = trainer.generate(source, reference), trainer.generate(reference, source)
        # Blocks of their own: until its block ends, autocast goes on using a weight's cast from before an update.
        with trainer.autocast():
            terms = self._discriminator_steps(source, reference, fake.detach(), back.detach())
        with trainer.autocast():
            total, named = self._generator_terms(source, reference, fake, back, noise)
        trainer.update("generator", total)
        with trainer.autocast():
            purified, named_h = self._regularizer_terms(source, reference)
        trainer.update("regularizer", purified)
        return {"total": total, **terms, **named, **named_h}

    def _discriminator_steps(
        self, source: FaceBatch, reference: FaceBatch, fake: Tensor, back: Tensor
    ) -> dict[str, Tensor]:
        terms = {}
        pairs = {"discriminator_makeup": (reference.image, fake), "discriminator_plain": (source.image, back)}
        for name, (real, drawn) in pairs.items():
            network = self.trainer.networks[name]
            terms[name] = losses.lsgan_discriminator_loss(network(real), network(drawn))
            self.trainer.update(name, terms[name])
        return terms

    def _judged(self, fake: Tensor, back: Tensor) -> Tensor:
        scores = self.trainer.networks["discriminator_makeup"](fake), self.trainer.networks["discriminator_plain"](back)
        return 0.5 * sum(losses.lsgan_generator_loss(score) for score in scores)

    def _made_up(self, fake: Tensor, back: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        return 0.5 * (self.trainer.makeup(fake, source, reference) + self.trainer.makeup(back, reference, source))

    def _attack(self, images: Tensor, face: FaceBatch, noise: torch.Generator) -> Tensor:
        trainer = self.trainer
        views, points, diversity = trainer.config.views, trainer.points(face), replace(NOISY, part=trainer.share)
        return losses.adversarial_loss(images, trainer.target, trainer.recognizers, views, diversity, points, noise)

    def _cycle(self, pure_fake: Tensor, pure_back: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        """Regularized cycle: H(G(H(G(x,y)), x)) vs x, and the same for y."""
        regularizer = self.trainer.networks["regularizer"]
        source_again = regularizer(self.trainer.generate(source, source, pure_fake))
        reference_again = regularizer(self.trainer.generate(reference, reference, pure_back))
        first = losses.cycle_loss(source_again, source.image)
        return 0.5 * (first + losses.cycle_loss(reference_again, reference.image))

    def _generator_terms(
        self, source: FaceBatch, reference: FaceBatch, fake: Tensor, back: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights, regularizer = self.trainer.weights, self.trainer.networks["regularizer"]
        same = [self.trainer.generate(face, face) for face in (source, reference)]
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
        total = sum(
            losses.identity_loss(image, face.image, self.trainer.perceptual) for image, face in zip(same, faces)
        )
        if self.trainer.recipe.perceptual_to_source:
            total = total + sum(self.trainer.perceptual(image, face.image) for image, face in zip(crossed, faces))
        return 0.5 * total

    def _regularizer_terms(self, source: FaceBatch, reference: FaceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        weights, regularizer = self.trainer.recipe.weights, self.trainer.networks["regularizer"]
        pairs = (source, reference), (reference, source), (source, source), (reference, reference)
        with torch.no_grad():
            # Drawn again, as released: G has moved since its own step.
            drawn = [self.trainer.generate(*pair) for pair in pairs]
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
            own = self.trainer.embeddings(face)
        points = self.trainer.points(face)
        return losses.adversarial_loss(images, own, self.trainer.recognizers, views=1, diversity=None, points=points)
