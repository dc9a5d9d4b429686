"""The step of the residual recipes: one network, one update, no adversaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.hints import gradient_hints
from amtgan_lib.images import LEVELS
from amtgan_lib.training.config import ALIGNED

if TYPE_CHECKING:
    from amtgan_lib.training.trainer import Trainer

# Of the recipe any_target: every second target is a point between so many people, every second step is without makeup,
# and a step trains the first, the second or the third look of the generator at a face.
CROWD, PASSES = 2, 3


class ResidualStep:
    """One step of the recipes ``residual`` (one target) and ``any_target`` (hints) on the generator of a trainer."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def __call__(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Attack the recognisers, stay close to the transferred makeup."""
        trainer, weights = self.trainer, self.trainer.weights
        points, targets, any_target = trainer.points(source), trainer.target, trainer.recipe.any_target
        if any_target and trainer.step % 2:
            reference = source  # a face in its own makeup: only the recognisers are to be seen to
        with torch.no_grad(), trainer.autocast():
            own, start = trainer.embeddings(source), self._start(source, reference)
        if any_target:
            targets = self._draw_targets(len(source), noise)
            image = self._guided(source, reference, targets, own, noise)
        else:
            with trainer.autocast():
                image = trainer.generate(source, reference)
        diversity = replace(ALIGNED, part=trainer.share)
        with trainer.autocast():
            attack, dodge = losses.attack_losses(
                image, targets, own, trainer.recognizers, trainer.config.views, diversity, points, noise
            )
        similarity = (image - start).abs().mean() + 1 - losses.ssim(image, start).mean()
        makeup = self._makeup(image, start, source, reference)
        total = weights.adversarial * attack + weights.dodging * dodge
        total = total + weights.similarity * similarity + weights.makeup * makeup
        trainer.update("generator", total)
        return {"total": total, "adversarial": attack, "dodging": dodge, "similarity": similarity, "makeup": makeup}

    def _guided(
        self,
        source: FaceBatch,
        reference: FaceBatch,
        targets: Sequence[Tensor],
        own: Sequence[Tensor],
        noise: torch.Generator,
    ) -> Tensor:
        """The picture after one pass or more, as at use time; only the last pass has a gradient."""
        trainer, now, left = self.trainer, source, None
        for number in reversed(range(int(torch.randint(PASSES, (), generator=noise)) + 1)):
            # A block of its own for each pass: autocast would go on using the casts that a pass without gradient made.
            with torch.set_grad_enabled(number == 0), trainer.autocast():
                hints = gradient_hints(now.image, trainer.points(source), trainer.recognizers, targets, left)
                image = trainer.generate(now, reference, hints=hints)
            now = reference = replace(source, image=image.detach())  # the makeup is on after the first pass
            left = own
        return image

    def _draw_targets(self, count: int, noise: torch.Generator) -> list[Tensor]:
        """Per recogniser (count, D): a person of the pool, or the point between a few, which is nobody."""
        share = self.trainer.share
        people = share.of(torch.randint(len(self.trainer.targets[0]), (count * share.size, CROWD), generator=noise))
        alone = share.of(torch.rand(count * share.size, generator=noise)) < 0.5
        weights = torch.full((count, CROWD), 1.0)
        weights[alone, 1:] = 0
        found = []
        for vectors in self.trainer.targets:
            chosen = vectors[people.to(vectors.device)] * weights[..., None].to(vectors.device)
            found.append(F.normalize(chosen.sum(1)))
        return found

    def _start(self, source: FaceBatch, reference: FaceBatch) -> Tensor:
        sides = (source.masks, reference.masks, source.landmarks, reference.landmarks)
        return self.trainer.networks["generator"].start(source.image, reference.image, *sides)

    def _makeup(self, image: Tensor, start: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        """Colours of the reference (histograms), or, where makeup alone is transferred, that makeup as transferred."""
        if self.trainer.config.transfer == "colours":
            return self.trainer.makeup(image, source, reference)
        weights = image.new_tensor(self.trainer.recipe.weights.regions)[:, None, None]
        distance = (image - start).abs().mean(1, keepdim=True) * LEVELS
        return (distance * source.masks * weights).mean(dim=(0, 2, 3)).sum()
