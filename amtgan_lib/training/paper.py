"""The paper's step: discriminators, generator, regularization module, in the order of the released loop."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.training.config import NOISY
from amtgan_lib.training.state import State


class PaperStep:
    """One step of the recipes ``published`` and ``corrected`` on the networks of a trainer."""

    def __init__(self, trainer: State):
        self.trainer = trainer

    def __call__(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """D_A, D_B, G (its gradient passes through H), then H, in the order of the released loop.

        H has no step of its own, and no losses, in a recipe without it and in one that does not train it beside G.
        """
        trainer = self.trainer
        if trainer.step < trainer.config.warm_up:
            return self._give_faces_back(source, reference)
        # Both directions go through the networks as one batch: x and y, each in the makeup of the other.
        faces, others = FaceBatch.joined(source, reference), FaceBatch.joined(reference, source)
        with trainer.precision.autocast():
            # The discriminators judge the very fakes that G's step uses: the weights do not move in between.
            drawn = trainer.generate(faces, others)
        # Blocks of their own: until its block ends, autocast keeps using a weight's cast from before an update.
        with trainer.precision.autocast():
            terms = self._discriminator_steps(source, reference, *drawn.detach().chunk(2))
        with trainer.precision.autocast():
            total, named = self._generator_terms(faces, others, drawn, noise)
        trainer.update("generator", total)
        if not (trainer.recipe.regularized and trainer.recipe.joint):
            return {"total": total, **terms, **named}
        with trainer.precision.autocast():
            purified, named_h = self._regularizer_terms(faces, others)
        trainer.update("regularizer", purified)
        return {"total": total, **terms, **named, **named_h}

    def _give_faces_back(self, source: FaceBatch, reference: FaceBatch) -> dict[str, Tensor]:
        """Ours, for short trainings: G(x, x) = x and H(x) = x, at a quarter of the cost of a whole step.

        The discriminators learn to tell these faces from photos: otherwise they still judge by chance when a short
        training ends.
        """
        trainer, faces = self.trainer, FaceBatch.joined(source, reference)
        with trainer.precision.autocast():
            drawn = {"generator": trainer.generate(faces, faces)}
            drawn["regularizer"] = trainer.networks["regularizer"](faces.image).float()
            named = self._discriminator_steps(source, reference, *drawn["generator"].detach().chunk(2))
        for name, image in drawn.items():
            named[f"{name}_back"] = (image - faces.image).abs().mean() + 1 - losses.ssim(image, faces.image).mean()
            trainer.update(name, named[f"{name}_back"])
        return {"total": named["generator_back"] + named["regularizer_back"], **named}

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

    # Below, ``faces`` are x and y (2N), ``others`` y and x; a mean over both is the paper's half of the sum of two.

    def _judged(self, drawn: Tensor) -> Tensor:
        networks = self.trainer.networks["discriminator_makeup"], self.trainer.networks["discriminator_plain"]
        pairs = zip(networks, drawn.chunk(2))
        return 0.5 * sum(losses.lsgan_generator_loss(network(half)) for network, half in pairs)

    def _attack(self, drawn: Tensor, faces: FaceBatch, noise: torch.Generator) -> Tensor:
        """Random views of either direction on their own, as released."""
        trainer, half = self.trainer, len(faces) // 2
        views, diversity = trainer.config.views, replace(NOISY, part=trainer.share)
        return 0.5 * sum(
            losses.adversarial_loss(
                drawn[own], trainer.target, trainer.recognizers, views, diversity, trainer.points(faces[own]), noise
            )
            for own in (slice(half), slice(half, None))
        )

    @property
    def _regularizer(self) -> nn.Module:
        """H; without it pictures stay as they are, and the cycle is G(G(x,y), x) vs x."""
        return self.trainer.networks["regularizer"] if self.trainer.recipe.regularized else nn.Identity()

    def _cycle(self, pure: Tensor, faces: FaceBatch) -> Tensor:
        """Regularized cycle: H(G(H(G(x,y)), x)) vs x, and the same for y."""
        again = self._regularizer(self.trainer.generate(faces, faces, pure))
        return losses.cycle_loss(again, faces.image)

    def _generator_terms(
        self, faces: FaceBatch, others: FaceBatch, drawn: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.trainer.weights
        named = {
            "gan": self._judged(drawn),
            "cycle": self._cycle(self._regularizer(drawn), faces),
            "makeup": self.trainer.makeup(drawn, faces, others),
            "identity": self._identity(self.trainer.generate(faces, faces), drawn, faces),
            "adversarial": self._attack(drawn, faces, noise),
        }
        return sum(getattr(weights, name) * value for name, value in named.items()), named

    def _identity(self, same: Tensor, crossed: Tensor, faces: FaceBatch) -> Tensor:
        """Faces drawn in their own makeup (``same``) stay as they are; as released, those in the other's do, too."""
        total = losses.identity_loss(same, faces.image, self.trainer.perceptual)
        if self.trainer.recipe.perceptual_to_source:
            total = total + self.trainer.perceptual(crossed, faces.image)
        return total

    def _regularizer_terms(self, faces: FaceBatch, others: FaceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        weights, regularizer = self.trainer.recipe.weights, self.trainer.networks["regularizer"]
        with torch.no_grad():
            # Drawn again, as released: G has moved since its own step.
            crossed, same = (self.trainer.generate(faces, made_up) for made_up in (others, faces))
        pure = regularizer(crossed)
        named = {
            "h_gan": self._judged(pure),
            "h_cycle": self._cycle(pure, faces),
            "h_makeup": self.trainer.makeup(pure, faces, others),
            "h_identity": self._identity(regularizer(same), pure, faces),
            "h_adversarial": self._give_back(pure, faces),
        }
        return sum(getattr(weights, name[2:]) * value for name, value in named.items()), named

    def _give_back(self, images: Tensor, faces: FaceBatch) -> Tensor:
        """H is to give the source identity back: 1 - cos(f(H(G(.))), f(x))."""
        with torch.no_grad():
            own = self.trainer.embeddings(faces)
        points = self.trainer.points(faces)
        return losses.adversarial_loss(images, own, self.trainer.recognizers, views=1, diversity=None, points=points)
